"""What `make install` puts where; the example plug-in and every snippet of docs/TASKS.md on top of
it, outside of the tree."""
import ast
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import pytest

from worker import BUILD, JUDGE, ROOT, SANITIZERS

pytestmark = pytest.mark.skipif(JUDGE, reason="smallage_only: Celery is installed otherwise")


def make(target, prefix, *more):
    san = BUILD.name[len("build-"):].replace("-clang", "").replace("-", ",")
    subprocess.run(["make", "-s", "-C", ROOT, target, f"PREFIX={prefix}", *more,
                    *([f"SAN={san}"] if san else []),
                    *(["CC=clang"] if BUILD.name.endswith("-clang") else [])],
                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("usr")
    make("install", folder)
    return folder


class Shell:
    """Commands in a folder of their own, as a user of the installed smallage has them."""

    def __init__(self, prefix, folder, **env):
        self.folder = folder
        clean = {k: v for k, v in os.environ.items()
                 if not k.startswith(("CELERY_", "EMAIL_", "REDIS_", "SMALLAGE_", "SMS_"))}
        # Its Python is ours, so that it has a Celery.
        self.env = {**clean, **SANITIZERS, "PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig",
                    "PATH": f"{prefix}/bin:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
                    "SMALLAGE_STATUS_SOCKET": f"{folder}/s", "TMPDIR": str(folder),
                    "PYTHONDONTWRITEBYTECODE": "1", **env}
        self.background = []

    def start(self, command):
        """In place of what was started before."""
        self.close()
        log = open(self.folder / f"background-{len(self.background)}.log", "wb")
        with log:
            self.background.append(subprocess.Popen(
                ["bash", "-c", "exec " + command], cwd=self.folder, env=self.env,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True))

    def output(self, command, timeout=60):
        """The exit code, and what was said on standard output and error."""
        done = subprocess.run(["bash", "-c", command], cwd=self.folder, env=self.env, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=timeout, check=False)
        return done.returncode, done.stdout

    def wait_ready(self):
        end = time.monotonic() + 20
        while self.output("smallage status")[0] != 0:
            assert time.monotonic() < end and self.background[-1].poll() is None, self.logs()
            time.sleep(0.05)

    def logs(self):
        return "\n".join(path.read_text() for path in self.folder.glob("background-*.log"))

    def close(self):
        for process in self.background:
            if process.poll() is None:
                process.terminate()
        codes = [process.wait(20) for process in self.background]
        assert not any(codes), (codes, self.logs())


@pytest.fixture
def shell(prefix, broker, results, tmp_path):
    one = Shell(prefix, tmp_path, CELERY_BROKER_URL=broker.url, CELERY_RESULT_BACKEND=results.url)
    yield one
    one.close()


class TestInstall:
    def test_everything_has_its_place_and_leaves_it(self, tmp_path):
        make("install", "/usr", f"DESTDIR={tmp_path}")
        found = files_below(tmp_path / "usr")
        assert [name for name in found if "templates" not in name] == [
            "bin/smallage", "include/smallage/task.h", "lib/pkgconfig/smallage.pc",
            "lib/smallage/tasks/email.so", "lib/smallage/tasks/sms.so",
            "share/man/man1/smallage.1", "share/man/man3/smallage-task.3"]
        assert "share/smallage/templates/welcome/subject.txt" in found
        own = tmp_path / "usr/lib/smallage/tasks/own.so"
        own.touch()
        make("uninstall", "/usr", f"DESTDIR={tmp_path}")
        assert files_below(tmp_path / "usr") == ["lib/smallage/tasks/own.so"]

    def test_the_installed_worker_finds_what_was_installed(self, prefix, tmp_path):
        shell = Shell(prefix, tmp_path)
        assert shell.output("pkg-config --variable=pluginsdir smallage")[1].strip() == \
            f"{prefix}/lib/smallage/tasks"
        assert f"-I{prefix}/include" in shell.output("pkg-config --cflags smallage")[1]
        assert shell.output("pkg-config --modversion smallage")[1].strip() == \
            shell.output("smallage version")[1].split()[1]
        code, said = shell.output("smallage check")
        assert code == 0 and f"{prefix}/share/smallage/templates" in said, said

    def test_the_page_of_the_task_api_has_every_function(self, prefix):
        header = (prefix / "include/smallage/task.h").read_text()
        page = (prefix / "share/man/man3/smallage-task.3").read_text().replace("\\-", "-")
        calls = header.split("visibility push")[1]
        names = re.findall(r"\b(sm_\w+)\(", re.sub(r"/\*.*?\*/", "", calls, flags=re.S))
        assert len(names) > 30
        bold = "\n".join(re.findall(r"^\\fB(.*)\\fR", page, flags=re.M))
        assert [name for name in names if f"{name}(" not in bold] == []
        assert "__attribute__" not in bold and "@" not in page
        # No line that is taken for a command of roff's and is none.
        assert set(re.findall(r"^(\.\w+)", page, flags=re.M)) <= {
            ".TH", ".SH", ".SS", ".PP", ".nf", ".fi", ".RS", ".RE", ".B", ".BR", ".I"}


def blocks(path):
    """(line, language, file name, text) of each fenced block."""
    text = path.read_text()
    for found in re.finditer(r"^```(\w*)[ \t]*(\S*)\n(.*?)^```$", text, flags=re.M | re.S):
        yield text.count("\n", 0, found.start()) + 1, *found.groups()


def like(expected, said):
    """Equal, but "..." stands for anything within a line or for whole lines."""
    pattern = re.escape(expected.strip()).replace(r"\.\.\.\n", r"(?:.*\n)*?").replace(r"\.\.\.", ".*")
    return re.fullmatch(pattern, said.strip()) is not None


def run_console(shell, line, text):
    """A block of "$ command" lines with what each prints; those that end with & run until the end."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, _, expected = re.sub(r"\\\n\s*", "", part).partition("\n")
        if command.endswith(" &"):
            shell.start(command[:-2])
            shell.wait_ready()
            continue
        said = shell.output(command)[1]
        assert like(expected, said), f"line {line}: $ {command}\n{said}\nnot\n{expected}\n" \
            + shell.logs()


def check_plain(text):
    """JSON values, or parameter lists of Python, one below the other."""
    while text.startswith("{"):
        text = text[json.JSONDecoder().raw_decode(text)[1]:].lstrip()
    for line in text.splitlines():
        ast.parse(f"def task({line}): pass")


@pytest.mark.brokers("rabbitmq", "redis", why="a folder needs more of its producers than a URL")
@pytest.mark.parametrize("document", ["docs/TASKS.md", "examples/plugin/README.md"])
def test_every_snippet_does_what_its_document_says(shell, document):
    """Blocks with a file's name are written to it, "console" ones are run; their output counts."""
    path = ROOT / document
    for name in files_below(path.parent) if "plugin" in document else ():
        shutil.copy(path.parent / name, shell.folder)
    seen = set()
    for line, language, name, text in blocks(path):
        seen.add(language)
        if name:
            (shell.folder / name).parent.mkdir(exist_ok=True)
            (shell.folder / name).write_text(text)
        elif language == "console":
            run_console(shell, line, text)
        else:
            assert language == "", f"line {line}: nobody runs this block"
            check_plain(text)
    assert "console" in seen
