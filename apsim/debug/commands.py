"""The typed commands: their names, what they want, what they do, and how a line is read.

The rule: the table below is all there is; `help`, completion and suggestions come
from it.  Names may be cut short where that is unique, and the aliases are gdb's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from apsim.debug import alter, looks, moves
from apsim.debug.expressions import WORDS
from apsim.debug.panes import PANES
from apsim.debug.shell import Shell
from apsim.errors import ApsimError, InputError
from apsim.files import MOST_DIGITS, has_long_number

__all__ = ["COMMANDS", "Command", "completions", "do", "find"]


@dataclass(frozen=True)
class Command:
    """A command: name, aliases, what it wants after it, what it is good for, and its action."""

    name: str
    aliases: tuple[str, ...]
    wants: str
    about: str
    action: Callable[[Shell, str], None]

    def __str__(self) -> str:
        names = ", ".join((self.name, *self.aliases))
        return f"{names + ' ' + self.wants:38} {self.about}"


def help_(shell: Shell, text: str) -> None:
    """List the commands, or explain one."""
    if text:
        command = find(text)
        shell.say(str(command))
        if command.action in (looks.break_, looks.tbreak, moves.until):
            shell.say(CONDITIONS)
    else:
        shell.say("\n".join(map(str, COMMANDS)))


CONDITIONS = """conditions, joined by `and`:
  bit 3, bit >= 2     steps at a bit          pass 2          passes by label
  step 40, step > 9   steps by number         label "reset"   steps by label
  phase reduce        steps of a phase        row 5           row 5 is tagged
  tag, tag > 2        lines tagged            write B, B.7    cells of B (bit 7) driven
  write column 12     cells of it driven      B == 33         some word of B becomes 33
  B > A in row 2      compares two fields     (beside others a value is looked at there)"""

COMMANDS = (
    Command("step", ("s",), "[N]", "run N passes", moves.step),
    Command("cycle", ("stepi", "si"), "[N]", "run N single compares, writes or reads", moves.cycle),
    Command("next", ("n",), "[N]", "run to the next bit", moves.next_),
    Command("finish", ("fin",), "", "run to the end of the operation", moves.finish),
    Command("continue", ("c",), "[N]", "run to the next stop, N times", moves.continue_),
    Command("until", ("u",), "CONDITION", "run until a condition holds", moves.until),
    Command("back", ("reverse-step", "rs"), "[N]", "go back N passes", moves.back),
    Command("reverse-continue", ("rc",), "", "go back to the last stop", moves.reverse_continue),
    Command("goto", ("jump",), "STEP", "go to a step, forwards or back", moves.goto),
    Command("restart", (), "", "go back to the start", moves.restart),
    Command("break", ("b",), "CONDITION", "stop where a condition holds", looks.break_),
    Command("tbreak", ("tb",), "CONDITION", "stop there once", looks.tbreak),
    Command("watch", (), "FIELD", "stop where a field changes", looks.watch),
    Command("delete", ("d",), "[NUMBER...]", "remove stops", looks.delete),
    Command("disable", (), "[NUMBER...]", "pass stops by", looks.disable),
    Command("enable", (), "[NUMBER...]", "let them stop again", looks.enable),
    Command("print", ("p",), "[/u/s/b/x] FIELD [ROWS]", "print words", looks.print_),
    Command("list", ("l",), "[STEP]", "list the program around a step", looks.list_),
    Command("where", ("bt",), "", "say where the run is", looks.where),
    Command("info", ("i",), "SUBJECT", "breakpoints, counters, fields, operations", looks.info),
    Command("show", (), "[PANE or FIELD...]", f"draw {', '.join(PANES)}", looks.show),
    Command("display", (), "[PANE... or off]", "draw panes at every halt", looks.display),
    Command("rows", (), "auto, tagged, from N, 0-7", "choose the rows shown", looks.rows),
    Command("set", (), "FIELD[ROW] = VALUE", "set a word or, FIELD.BIT, a cell", alter.set_),
    Command("save", (), "FILE", "keep the session", alter.save),
    Command("load", (), "FILE", "go on with a kept session", alter.load),
    Command("trace", (), "on FILE or off", "write every step to a file", alter.trace),
    Command("live", (), "", "full-screen view", alter.live),
    Command("help", ("h", "?"), "[COMMAND]", "explain", help_),
    Command("quit", ("q", "exit"), "", "leave", alter.quit_),
)


def find(name: str) -> Command:
    """The command of a name, an alias or a unique beginning; raises `InputError`."""
    for command in COMMANDS:
        if name in (command.name, *command.aliases):
            return command
    begun = [command for command in COMMANDS if command.name.startswith(name)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise InputError(f"{name!r} may be {' or '.join(command.name for command in begun)}")
    near = get_close_matches(name, [command.name for command in COMMANDS], 1, 0.5)
    hint = f"did you mean {near[0]!r}?" if near else "`help` lists the commands"
    raise InputError(f"there is no command {name!r}; {hint}")


def do(shell: Shell, line: str) -> None:
    """Carry out one line; a mistake in it is said, and the session goes on."""
    line = line.strip()
    if not line or line.startswith("#"):
        return
    name, _, rest = line.partition(" ")
    if "/" in name:  # print/b B
        name, _, letter = name.partition("/")
        rest = f"/{letter} {rest}"
    try:
        if has_long_number(line):
            raise InputError(f"wanted numbers of less than {MOST_DIGITS} digits")
        command = find(name)
        with shell.interrupt.watched():
            command.action(shell, rest.strip())
            if shell.interrupt.is_asked():
                shell.say("interrupted; the session goes on from here")
    except ApsimError as error:
        shell.failed += 1
        shell.say(f"error: {error}")


def completions(shell: Shell, line: str) -> list[str]:
    """What the last word of a line may become."""
    words = line.split(" ")
    last = words[-1]
    if len(words) == 1 or words[0] == "help":
        known = [command.name for command in COMMANDS]
    elif words[0] in ("show", "display"):
        known = [*PANES, *shell.session.machine.layout]
    elif words[0] in ("info", "i"):
        known = ["breakpoints", "counters", "fields", "machine", "operations"]
    else:
        known = [*shell.session.machine.layout, *WORDS, "and", "in"]
    return [word for word in known if word.startswith(last)]
