"""Holds what the tokenizer is made of: one kind of writing a module, and the tokenizers of older indexes."""
