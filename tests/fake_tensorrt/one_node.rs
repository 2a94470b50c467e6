//! The smallest ONNX file, and a node with a name in another.
#![allow(dead_code, reason = "each test file uses a part")]

/// A field of a protocol buffer that holds `bytes`, fewer than 128.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).expect("a short field")], bytes].concat()
}

/// The ONNX file of one node, y = `operator`(x) with three floats.
pub fn one_node(operator: &str) -> Vec<u8> {
    let floats = [vec![1 << 3, 1], field(2, &field(1, &[1 << 3, 3]))].concat();
    let value = |name: &[u8]| [field(1, name), field(2, &field(1, &floats))].concat();
    let node =
        [field(1, b"x"), field(2, b"y"), field(3, b"node_of_mine"), field(4, operator.as_bytes())].concat();
    let graph =
        [field(1, &node), field(2, b"graph"), field(11, &value(b"x")), field(12, &value(b"y"))].concat();
    [vec![1 << 3, 8], field(7, &graph), field(8, &[field(1, b""), vec![2 << 3, 17]].concat())].concat()
}

/// The ONNX file `bytes` with its first node called `name`.
pub fn with_first_node_called(bytes: &[u8], name: &str) -> Vec<u8> {
    const GRAPH: usize = 7;
    const NODE: usize = 1;
    appended(bytes, &[GRAPH, NODE], &field(3, name.as_bytes()))
}

/// The ONNX file `bytes` with one more weight, in the file `location`.
pub fn with_weight_in(bytes: &[u8], location: &str) -> Vec<u8> {
    const GRAPH: usize = 7;
    let entry = [field(1, b"location"), field(2, location.as_bytes())].concat();
    appended(bytes, &[GRAPH], &field(5, &[field(8, location.as_bytes()), field(13, &entry)].concat()))
}

/// `message` with `fields` at the end of the first message at `path` in it.
fn appended(message: &[u8], path: &[usize], fields: &[u8]) -> Vec<u8> {
    let Some((wanted, deeper)) = path.split_first() else { return [message, fields].concat() };
    let mut at = 0;
    loop {
        let (tag, value) = number(message, at);
        let (length, body) = number(message, value);
        at = match tag & 7 {
            0 => body,
            2 => body + length,
            kind => panic!("a field of kind {kind}"),
        };
        if tag == wanted << 3 | 2 {
            let inner = appended(&message[body..at], deeper, fields);
            return [&message[..value], &written(inner.len()), &inner, &message[at..]].concat();
        }
    }
}

/// The number that is written at a place, and the place behind it.
fn number(bytes: &[u8], mut at: usize) -> (usize, usize) {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        number |= usize::from(bytes[at] & 0x7f) << shift;
        at += 1;
        if bytes[at - 1] < 0x80 {
            break;
        }
    }
    (number, at)
}

fn written(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
