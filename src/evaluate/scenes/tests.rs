//! Scenes as they are written, and every mistake in them.

use super::*;

/// Parses `scene` as the second of two scenes whose files exist.
fn second(scene: &str) -> Result<Scenes, String> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let text = format!(r#"{{"scenes":[{{"image":"Cargo.toml","kind":"silence"}},{scene}]}}"#);
    parse(&text, Path::new(file)).map_err(|error| error.to_string())
}

#[test]
fn a_duet_is_read_with_its_halves() {
    let scenes = second(
        r#"{"image":"Cargo.toml","audio":"Cargo.lock","kind":"duet","silent":["cat"],"sources":[
        {"class":"dog","boxes":[[0.1,0.1,0.4,0.4],[0.2,0.5,0.3,0.6]]},{"class":"bell","half":"right"}]}"#,
    );
    let scene = &scenes.unwrap().scenes[1];
    assert_eq!(scene.sources[0].boxes.len(), 2);
    assert_eq!(scene.sources[0].half, Some(Half::Left));
    assert_eq!(scene.sources[1].half, Some(Half::Right));
    assert_eq!(scene.silent, ["cat"]);
}

#[test]
fn a_corner_that_rounding_moved_out_of_the_picture_is_moved_back() {
    let single =
        r#"{"image":"Cargo.toml","kind":"single","sources":[{"class":"a","boxes":[[-1e-7,0,1.005,1]]}]}"#;
    let boxes = &second(single).unwrap().scenes[1].sources[0].boxes;
    assert_eq!(boxes[..], [Rect { x0: 0.0, y0: 0.0, x1: 1.0, y1: 1.0 }]);
}

#[test]
fn lists_may_be_empty_null_or_left_out() {
    for scene in [
        r#"{"image":"Cargo.toml","kind":"silent_object","silent":["dog"]}"#,
        r#"{"image":"Cargo.toml","kind":"silence","sources":null,"silent":null}"#,
        r#"{"image":"Cargo.toml","kind":"single","sources":[{"class":"dog","boxes":null}]}"#,
    ] {
        let scene = &second(scene).unwrap().scenes[1];
        assert!(scene.sources.iter().all(|source| source.boxes.is_empty()));
    }
}

#[test]
fn unknown_keys_are_named_and_ignored() {
    let read =
        second(r#"{"image":"Cargo.toml","kind":"single","sauces":[],"sources":[{"class":"a","x":1}]}"#);
    let warnings = read.unwrap().warnings;
    assert_eq!(
        warnings,
        ["scenes[1].sauces: unknown key, ignored", "scenes[1].sources[0].x: unknown key, ignored"]
    );
}

/// A model to which these are one.
fn chicken(name: &str) -> &str {
    if ["rooster", "hen"].contains(&name) { "chicken" } else { name }
}

#[test]
fn labels_that_contradict_each_other_or_their_kind_are_told() {
    let cases = [
        (
            r#""kind":"silence","sources":[{"class":"dog"}]"#,
            "sources: [dog], expected none as its kind is silence",
        ),
        (r#""kind":"single""#, "sources: [], expected one class as its kind is single"),
        (
            r#""kind":"duet","sources":[{"class":"dog"},{"class":"dog"}]"#,
            "sources: [dog], expected two classes or more as its kind is duet",
        ),
        (
            r#""kind":"silent_object","sources":[{"class":"dog"}],"silent":["dog"]"#,
            "silent: `dog` is a source of the scene as well",
        ),
        (
            r#""kind":"duet","sources":[{"class":"rooster"},{"class":"hen"}]"#,
            "sources: [chicken], expected two classes or more as its kind is duet",
        ),
        (
            r#""kind":"silent_object","sources":[{"class":"rooster"}],"silent":["chicken"]"#,
            "silent: `chicken` is a source of the scene as well",
        ),
        (
            r#""kind":"silent_object","sources":[{"class":"chicken"}],"silent":["hen"]"#,
            "silent: `hen`, which is `chicken` to the model, is a source of the scene as well",
        ),
    ];
    for (scene, expected) in cases {
        let read = second(&format!(r#"{{"image":"Cargo.toml",{scene}}}"#)).expect(scene);
        assert_eq!(read.scenes[1].contradictions(chicken), [expected]);
    }
    let many = r#"{"image":"Cargo.toml","kind":"off_screen","sources":[{"class":"a"},{"class":"b"}]}"#;
    let many = &second(many).unwrap().scenes[1];
    assert!(many.contradictions(chicken).is_empty(), "any number may sound out of the picture");
}

#[test]
fn each_error_names_the_scene_the_key_and_the_cure() {
    let cases = [
        (
            r#"{"image":"Cargo.toml","kind":"trio"}"#,
            "scenes[1].kind: unknown variant `trio`, expected one of",
        ),
        (r#"{"kind":"single"}"#, "scenes[1]: missing field `image`"),
        (
            r#"7"#,
            "scenes[1]: invalid type: integer `7`, expected a scene as an object with `image` and `kind`",
        ),
        (
            r#"{"image":"Cargo.toml","kind":"single","sources":["dog"]}"#,
            "expected a source as an object with `class`",
        ),
        (r#"{"image":"no.jpg","kind":"silence"}"#, "/no.jpg: no such file; paths are relative"),
        (r#"{"image":"Cargo.toml","audio":"no.wav","kind":"silence"}"#, "/no.wav: no such file"),
        (r#"{"image":"/dev/zero","kind":"silence"}"#, "scenes[1].image: /dev/zero: is a pipe or a device"),
        (r#"{"image":"src","kind":"silence"}"#, "src: is a folder"),
        (
            r#"{"image":"Cargo.toml","kind":"single","sources":[{"class":"dog","boxes":[[0,0,1.2,1]]}]}"#,
            "scenes[1].sources[0].boxes[0]: [0.0, 0.0, 1.2, 1.0] is no box; give [x0, y0, x1, y1]",
        ),
        (
            r#"{"image":"Cargo.toml","kind":"single","sources":[{"class":"dog","boxes":[[0.5,0,0.5,1]]}]}"#,
            "is no box",
        ),
        (r#"{"image":"Cargo.toml","kind":"single","sources":[{"class":7}]}"#, "scenes[1].sources[0].class"),
    ];
    for (scene, expected) in cases {
        let error = second(scene).expect_err(scene);
        assert!(error.contains(expected), "{error}\ndoes not contain {expected}");
    }
}

#[test]
fn a_file_that_is_missing_or_no_json_says_so() {
    let missing = read(Path::new("no/such.json")).unwrap_err().to_string();
    assert!(missing.contains("no/such.json") && missing.contains("give the path"), "{missing}");
    let broken = parse("{\"scenes\":[", Path::new("s.json")).unwrap_err().to_string();
    assert!(broken.starts_with("s.json:1:11: ") && broken.contains("   1 | {\"scenes\":["), "{broken}");
    let empty = parse("{\"scenes\":[]}", Path::new("s.json")).unwrap_err().to_string();
    assert!(empty.contains("expected at least one scene"), "{empty}");
}

#[test]
fn an_error_of_form_reads_like_one_of_the_configuration() {
    let told = |text: &str| parse(text, Path::new("s.json")).expect_err(text).to_string();
    let trio = told("{\n  \"scenes\": [{\"image\": \"a.jpg\", \"kind\": \"trio\"}]\n}");
    let lines: Vec<_> = trio.lines().collect();
    let expected = "expected one of `single`, `duet`, `silent_object`, `off_screen`, `silence`";
    assert_eq!(lines[0], format!("s.json:2:46: scenes[0].kind: unknown variant `trio`, {expected}"));
    assert_eq!(lines[1], "   2 |   \"scenes\": [{\"image\": \"a.jpg\", \"kind\": \"trio\"}]");
    assert_eq!(lines[2].find('^'), lines[1].find("\"}]"), "{trio}");
    assert_eq!(lines[3..], ["   = `tvsl eval --help` shows the form"]);
    let list = told("[]");
    assert!(
        list.starts_with("s.json:1:0: invalid type: sequence, expected an object with the key"),
        "{list}"
    );
    assert!(told("{}").contains("missing field `scenes`"));
    let wide = told(&format!("{{{}\"scenes\": 7}}", " ".repeat(200)));
    assert!(wide.contains("scenes: invalid type: integer `7`") && !wide.contains(" | "), "{wide}");
    let umlaut = told("{\"scenes\": \"äöü\"}");
    assert!(umlaut.contains("\n     | ") && umlaut.contains('^'), "{umlaut}");
}

#[test]
fn an_unknown_key_beside_the_scenes_is_named() {
    let text = r#"{"note":1,"scenes":[{"image":"Cargo.toml","kind":"silence"}]}"#;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    assert_eq!(parse(text, Path::new(file)).unwrap().warnings, ["note: unknown key, ignored"]);
}
