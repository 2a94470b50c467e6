//! Runs tensors through graphs: the only place that knows a runtime.
