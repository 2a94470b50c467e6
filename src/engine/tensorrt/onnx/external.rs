//! Which other files an ONNX file is made of.

use std::collections::BTreeSet;

use super::tensor::EXTERNAL;
use super::wire::Message;

/// Graphs lie in nodes of graphs; nobody nests them deeper.
const DEEPEST: usize = 64;

/// The messages of an ONNX file that lead to tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Function,
    Graph,
    Node,
    Attribute,
    Sparse,
    Tensor,
}

impl Kind {
    /// The fields with such messages, and which.
    fn parts(self) -> &'static [(u64, Self)] {
        match self {
            Self::Model => &[(7, Self::Graph), (25, Self::Function)],
            Self::Function => &[(7, Self::Node), (11, Self::Attribute)],
            Self::Graph => &[(1, Self::Node), (5, Self::Tensor), (15, Self::Sparse)],
            Self::Node => &[(5, Self::Attribute)],
            Self::Attribute => &[
                (5, Self::Tensor),
                (6, Self::Graph),
                (10, Self::Tensor),
                (11, Self::Graph),
                (22, Self::Sparse),
                (23, Self::Sparse),
            ],
            Self::Sparse => &[(1, Self::Tensor), (2, Self::Tensor)],
            Self::Tensor => &[],
        }
    }
}

/// The files with weights of the ONNX file of these bytes, as it names them: from its own folder.
pub(in super::super) fn files(bytes: &[u8]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    gather(bytes, Kind::Model, 0, &mut found);
    found
}

fn gather(bytes: &[u8], kind: Kind, depth: usize, found: &mut BTreeSet<String>) {
    // What is damaged is for TensorRT's parser to tell.
    let Some(message) = Message::read(bytes).filter(|_| depth < DEEPEST) else { return };
    if kind == Kind::Tensor {
        let entries = message.all(EXTERNAL).filter_map(Message::read);
        found.extend(
            entries.filter(|entry| entry.text(1) == "location").map(|entry| entry.text(2).to_owned()),
        );
    }
    for (field, part) in kind.parts() {
        message.borrowed(*field).for_each(|inner| gather(inner, *part, depth + 1, found));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message with others in its fields.
    fn of(fields: &[(u64, &[u8])]) -> Vec<u8> {
        let add =
            |message: Message<'static>, (field, bytes): &(u64, &[u8])| message.with_bytes(*field, *bytes);
        fields.iter().fold(Message::default(), add).write()
    }

    fn tensor(location: &str) -> Vec<u8> {
        let entry = |key: &str, value: &str| of(&[(1, key.as_bytes()), (2, value.as_bytes())]);
        of(&[(8, b"w"), (EXTERNAL, &entry("offset", "4")), (EXTERNAL, &entry("location", location))])
    }

    #[test]
    fn files_are_named_wherever_a_tensor_may_stand_and_by_nothing_else() {
        let constant = of(&[(5, &of(&[(1, b"value"), (5, &tensor("below/constant.bin"))]))]);
        let sparse = of(&[(1, &tensor("values.bin")), (2, &tensor("indices.bin"))]);
        let branch = of(&[(5, &tensor("branch.bin"))]);
        let choice = of(&[(5, &of(&[(6, &branch)])), (4, b"name.bin")]);
        let graph = of(&[
            (1, &constant),
            (1, &choice),
            (5, &tensor("weights.bin")),
            (5, &tensor("weights.bin")),
            (15, &sparse),
        ]);
        let default = of(&[(5, &tensor("default.bin"))]); // of an attribute that a caller may leave out
        let function = of(&[(7, &of(&[(5, &of(&[(10, &tensor("function.bin"))]))])), (11, &default)]);
        let found = files(&of(&[(2, b"producer.bin"), (7, &graph), (25, &function)]));
        let expected = [
            "below/constant.bin",
            "branch.bin",
            "default.bin",
            "function.bin",
            "indices.bin",
            "values.bin",
            "weights.bin",
        ];
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        assert!(files(b"weights.bin").is_empty(), "that is no ONNX file");
    }

    #[test]
    fn graphs_without_end_are_no_stack_without_end() {
        let mut graph = of(&[(5, &tensor("weights.bin"))]);
        for _ in 0..1000 {
            graph = of(&[(1, &of(&[(5, &of(&[(6, &graph)]))]))]);
        }
        assert!(files(&of(&[(7, &graph)])).is_empty());
    }
}
