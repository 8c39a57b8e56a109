"""compress: the offline stage. A large teacher becomes a small int8 student, exported to `.pte`."""
