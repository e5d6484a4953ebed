"""``python -m scripts.studies report``."""

from scripts.core.command_line import run

COMMANDS = {"report": "scripts.studies.report.commands.report"}

if __name__ == "__main__":
    run("python -m scripts.studies", COMMANDS)
