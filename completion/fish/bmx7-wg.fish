# fish completion for bmx7-wg: the command knows all that it takes.
bmx7-wg completion fish 2>/dev/null | source
