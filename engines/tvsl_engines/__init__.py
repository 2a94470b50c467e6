"""T-VSL as a PyTorch package: import encoders, train heads, compare methods, write model folders for `tvsl`."""
