"""Model files that need work before use: fetched, converted to ONNX once, kept under a checksum."""
