"""Post-training quantization by NNCF, OpenVINO's quantizer."""
