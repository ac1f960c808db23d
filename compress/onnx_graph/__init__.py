"""ONNX graphs: read, indexed, rewritten and written, in this one place.

`graph.Graph` finds the producer, the readers, the value and the shape of a tensor; it changes nodes
and removes what nothing reads. `files` loads, saves, copies, removes and checks files, external
data included. `metadata` reads and writes the metadata of a file. `nodes` and `inner` read one node
and the graphs inside it.

The package is built on ONNX's own protobufs. `onnx_ir` (1.1.0) was tried first. It does well on
external data (the same bytes of data as `onnx.save_model`, twice alike), readers inside branches,
and speed (94 MB in 0.14 s; protobufs in 0.09 s). It isn't suitable if a file must stay as it is.
`to_proto(from_proto(model))` changed the bytes of all 37 exported and quantized files that were
tried:

- every initializer gains a `value_info` entry (7 % of a small INT8 BERT's bytes), and entries of
  `value_info` change their order;
- the model's metadata are sorted by their keys, and empty doc strings are dropped;
- sparse initializers, `training_info`, `value_info` of unknown names, a second initializer of a
  name, and empty names at the end of a node's outputs are lost;
- a file in which two nodes make one tensor raises `SerdeError`, where ONNX Runtime's own message
  names the file's fault.

ONNX Runtime's quantizer, its converter to fp16, shape inference and the checker take only
protobufs, so that each of them would need both conversions.
"""
