//! The smallest ONNX file.

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
