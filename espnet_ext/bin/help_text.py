"""The one style of the help of all commands."""

import argparse

EXAMPLE = "example: "
"""How the end of a command's help begins."""


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults of options in their help, where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        # argparse would write "(default: None)" and "(default: [])".
        if action.default is None or action.default in ("", [], ()):
            return action.help
        if isinstance(action.default, bool):  # typed as true or false
            return f"{action.help} (default: {str(action.default).lower()})"
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """Its help has the required options first, and an example at the end.

    Attributes:
        example: a whole command, or nothing. It stays on one line, to be copied into a shell.
    """

    example = ""

    def format_help(self) -> str:
        """The help of `--help`."""
        end = f"\n{EXAMPLE}{self.example}\n" if self.example else ""
        self._required_first()
        # Added here and not as an epilog, whose lines argparse breaks.
        return super().format_help() + end

    def format_usage(self) -> str:
        """The line of a wrong command."""
        self._required_first()
        return super().format_usage()

    def _required_first(self) -> None:
        for actions in (self._actions, self._optionals._group_actions):
            # The model is not required by itself, for its two files are as good.
            actions.sort(key=lambda a: not a.required and a.dest not in ("model", "source"))


def parser(description: str | None, example: str = "") -> Parser:
    """An empty parser.

    Args:
        description: its first line says what the command does, say of a module's docstring.
        example: a whole command, for the end of its help.
    """
    # The rest of a module's docstring is for those who read the code.
    first = (description or "").strip().splitlines()[0]
    made = Parser(description=first, formatter_class=HelpFormatter)
    made.example = example
    return made
