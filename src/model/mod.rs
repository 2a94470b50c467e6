//! T-VSL in terms of graphs: pure mathematics on tensors.
