"""The systolic array's closed forms against registers, SCALE-Sim and ONNXim."""
