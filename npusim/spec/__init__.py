"""Files and options → frozen, validated specs, or one line that says what is wrong where."""
