"""Operations by field names; each builds a program, none keeps state."""
