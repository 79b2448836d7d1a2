import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.errors import InvalidArgument
from peitho.formats.docker import dockerfile
from peitho.formats.docker.dockerfile import Dockerfile

TYPE = "org.hyperledger.fabric.chaincode.type"
VERSION = "org.hyperledger.fabric.version"

# As recorded from peers, and as core/chaincode/platforms writes them.
GO_1_4 = """\
FROM hyperledger/fabric-baseos:amd64-0.4.22
ADD binpackage.tar /usr/local/bin
LABEL org.hyperledger.fabric.chaincode.id.name="ex" \\
      org.hyperledger.fabric.chaincode.id.version="1" \\
      org.hyperledger.fabric.chaincode.type="GOLANG" \\
      org.hyperledger.fabric.version="1.4.12" \\
      org.hyperledger.fabric.base.version="0.4.22"
ENV CORE_CHAINCODE_BUILDLEVEL=1.4.12"""
GO_2_5 = """\
FROM hyperledger/fabric-baseos:2.5
ADD binpackage.tar /usr/local/bin
LABEL org.hyperledger.fabric.chaincode.type="GOLANG" \\
      org.hyperledger.fabric.version="2.5.16"
ENV CORE_CHAINCODE_BUILDLEVEL=2.5.16"""
NODE_3_1 = """\
FROM hyperledger/fabric-nodeenv:3.1
ADD binpackage.tar /usr/local/src
LABEL org.hyperledger.fabric.chaincode.type="NODE" \\
      org.hyperledger.fabric.version="3.1.5"
ENV CORE_CHAINCODE_BUILDLEVEL=3.1.5"""
JAVA_3_1 = """\
FROM hyperledger/fabric-javaenv:3.1
ADD binpackage.tar /root/chaincode-java/chaincode
LABEL org.hyperledger.fabric.chaincode.type="JAVA" \\
      org.hyperledger.fabric.version="3.1.5"
ENV CORE_CHAINCODE_BUILDLEVEL=3.1.5"""

HEAD = "FROM a:1\nADD binpackage.tar /x\n"


def test_go_of_fabric_1_4() -> None:
    """
    The oldest peers say five labels, over continued lines.
    """
    assert Dockerfile(
        base="hyperledger/fabric-baseos:amd64-0.4.22",
        add_source="binpackage.tar",
        add_directory="/usr/local/bin",
        labels={
            "org.hyperledger.fabric.chaincode.id.name": "ex",
            "org.hyperledger.fabric.chaincode.id.version": "1",
            TYPE: "GOLANG",
            VERSION: "1.4.12",
            "org.hyperledger.fabric.base.version": "0.4.22",
        },
        env={"CORE_CHAINCODE_BUILDLEVEL": "1.4.12"},
    ) == dockerfile.parse(GO_1_4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GO_2_5, ("hyperledger/fabric-baseos:2.5", "/usr/local/bin", "GOLANG", "2.5.16")),
        (NODE_3_1, ("hyperledger/fabric-nodeenv:3.1", "/usr/local/src", "NODE", "3.1.5")),
        (
            JAVA_3_1,
            ("hyperledger/fabric-javaenv:3.1", "/root/chaincode-java/chaincode", "JAVA", "3.1.5"),
        ),
    ],
    ids=["go", "node", "java"],
)
def test_later_peers_say_two_labels(text: str, expected: tuple[str, str, str, str]) -> None:
    """
    Go, Node and Java differ in image, directory and type alone.
    """
    base, directory, kind, version = expected

    assert Dockerfile(
        base=base,
        add_source="binpackage.tar",
        add_directory=directory,
        labels={TYPE: kind, VERSION: version},
        env={"CORE_CHAINCODE_BUILDLEVEL": version},
    ) == dockerfile.parse(text)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ENV A=1 B=2", {"A": "1", "B": "2"}),
        ('ENV A="x y" B=z', {"A": "x y", "B": "z"}),
        ("ENV A=b=c", {"A": "b=c"}),
        ("ENV A=", {"A": ""}),
        ("ENV A the rest of it", {"A": "the rest of it"}),
        ("env A=$B", {"A": "$B"}),
        ("ENV A=1\nENV A=2", {"A": "2"}),
        ("ENV A=1 \\\n\n# why\n  B=2", {"A": "1", "B": "2"}),
        ("ENV A=1 \\", {"A": "1"}),
    ],
)
def test_variables_in_all_their_forms(line: str, expected: dict[str, str]) -> None:
    """
    Pairs, quotes, the old form with a space, continuation with comments inside.
    """
    assert expected == dockerfile.parse(HEAD + line).env


def test_comments_blank_lines_and_windows_line_ends_are_read_over() -> None:
    """
    None of them changes what a Dockerfile says.
    """
    text = "# made by hand\r\n\r\n" + GO_2_5.replace("\n", "\r\n") + "\r\n"

    assert dockerfile.parse(GO_2_5) == dockerfile.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Dockerfile line 1: no FROM"),
        ("# nothing\n", "Dockerfile line 2: no FROM"),
        ("\\", "Dockerfile line 1: ``"),
        ("\n\\\n \\\n", "Dockerfile line 2: ` `"),
        ("FROM a:1\n", "Dockerfile line 2: no ADD"),
        ("ADD b.tar /x\nFROM a:1\n", "Dockerfile line 1: `ADD b.tar /x`"),
        (HEAD + "RUN rm -rf /", "Dockerfile line 3: `RUN rm -rf /`"),
        (HEAD + "COPY a b", "Dockerfile line 3: `COPY a b`"),
        (HEAD + "ADD other.tar /y", "Dockerfile line 3: `ADD other.tar /y`"),
        (HEAD + "FROM b:2", "Dockerfile line 3: `FROM b:2`"),
        (HEAD + "\nLABEL a=1 \\\n  b=2\nUSER root", "Dockerfile line 6: `USER root`"),
        (HEAD + "LABEL a=1 \\\n  =2", "Dockerfile line 3: `LABEL a=1 =2`: must be KEY=VALUE"),
        (HEAD + "ENV \u00e4=1", "Dockerfile line 3: `ENV ...`: the name of a variable is"),
        (HEAD + "ENV A\x7f 1", "Dockerfile line 3: `ENV ...`: the name of a variable is"),
        (HEAD + "ENV A=1\0", "Dockerfile line 3: `ENV ...`: a NUL character"),
        (HEAD + "LABEL a=1 b", "Dockerfile line 3: .*must be KEY=VALUE"),
        (HEAD + "LABEL", "Dockerfile line 3: .*must be KEY=VALUE"),
        (HEAD + 'LABEL a="1', "Dockerfile line 3: .*No closing quotation"),
        ("FROM a:1 AS builder", "Dockerfile line 1: .*invalid reference format"),
        ("FROM A", "Dockerfile line 1: .*invalid reference format"),
        ("FROM a\nADD https://x/b.tar /x", "Dockerfile line 2: .*a file of the context"),
        ("FROM a\nADD ../b.tar /x", "Dockerfile line 2: .*a file of the context"),
        ("FROM a\nADD b.tar x", "Dockerfile line 2: .*an absolute directory"),
        ("FROM a\nADD b.tar /x/../..", "Dockerfile line 2: .*an absolute directory"),
        ("FROM a\nADD --chown=0 b.tar /x", "Dockerfile line 2: "),
        ("FROM a\nADD b.tar", "Dockerfile line 2: "),
        ('FROM a\nADD ["b.tar", "/x"]', "Dockerfile line 2: "),
    ],
)
def test_another_shape_is_refused_with_its_line(text: str, message: str) -> None:
    """
    What Peitho does not do is told with the line that asks for it.
    """
    with pytest.raises(InvalidArgument, match=message):
        dockerfile.parse(text)


def test_a_long_line_is_shown_in_part() -> None:
    """
    An error does not carry a file's content.
    """
    with pytest.raises(InvalidArgument) as raised:
        dockerfile.parse(HEAD + "RUN " + "x" * 5000)

    assert len(str(raised.value)) < 400


def outcome(text: str) -> str:
    """The image that a Dockerfile is based on, or what is wrong with it."""
    try:
        return dockerfile.parse(text).base
    except InvalidArgument as error:
        return str(error)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    """
    Nothing but InvalidArgument is raised, whatever the text.
    """
    found = outcome(HEAD + text)

    assert found == "a:1" or found.startswith("Dockerfile line ")


def test_spaces_before_an_old_variable_are_no_name() -> None:
    """
    The old form has one space or more.
    """
    assert {"A": "b c"} == dockerfile.parse("FROM a\nADD b.tar /x\nENV  A b c").env


@pytest.mark.parametrize("line", ['ENV KEY=planted "', "ENV KEY=planted more", "env\tKEY=planted"])
def test_no_error_shows_the_value_of_a_variable(line: str) -> None:
    """
    Errors are logged.
    """
    with pytest.raises(InvalidArgument, match=r"^Dockerfile line 2: `ENV \.\.\.`") as refused:
        dockerfile.parse(f"FROM a\n{line}")

    assert "planted" not in str(refused.value)
