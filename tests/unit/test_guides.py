"""Whatever the guides quote is run, or read by what reads it in the end, or says why not."""

import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import click
import pytest
import yaml

from peitho import cli
from tests.support import guides
from tests.support.guides import ROOT, Block
from tests.support.settings_files import load

PAGES = guides.pages()
# A line that a reader would type; `text` is for what they only read.
COMMAND = re.compile(
    r"^(kubectl|helm|docker|skopeo|ctr|peitho|peer|make|sed|openssl|tar|python) ", re.MULTILINE
)
INDENTED = re.compile(r"\n\n {4}(?=\S)(?! *[-*\d])")
TEST = re.compile(r"tests/\w+/\w+\.py")
# Words of Peitho's command line, in a block or within a sentence.
PEITHO = re.compile(r"(?:^|`|\(|-- |\| |kubectl )peitho ([-a-z][^\n`|&)#]*)", re.MULTILINE)
# Events of the audit trail.
NO_COMMANDS = ("started", "stopping")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def of(*languages: str) -> pytest.MarkDecorator:
    """The blocks of some languages, one test each."""
    return each(guides.all_blocks(*languages))


def each(blocks: Iterable[Block]) -> pytest.MarkDecorator:
    """One test for each block, named by its place."""
    return pytest.mark.parametrize("block", blocks, ids=lambda block: block.place)


@pages
def test_each_block_is_fenced_and_has_its_language(page: Path) -> None:
    """
    So that none is missed here; `text` is for what nobody types.
    """
    assert not INDENTED.search(guides.unfenced(page))
    for block in guides.blocks(page):
        assert block.language in guides.LANGUAGES or page == ROOT / "README.md", block.place
        assert block.language != "text" or not COMMAND.search(block.text), block.place


def test_reasons_are_sentences_and_name_tests_that_are_there() -> None:
    """
    Why a block is not run, and what is run in its place.
    """
    reasons = [block.not_run for page in PAGES for block in guides.blocks(page) if block.not_run]

    assert reasons
    for reason in reasons:
        assert 4 <= len(reason.split()), reason
        for path in TEST.findall(reason):
            assert (ROOT / path).exists(), reason
    for reason in guides.NOT_RUN.values():
        assert all((ROOT / path).exists() for path in TEST.findall(reason)), reason


@of("yaml")
def test_each_document_is_one_that_is_read(block: Block, tmp_path: Path) -> None:
    """
    Settings are loaded; objects and values of the chart go to the cluster, in a journey.
    """
    documents = list(yaml.safe_load_all(block.text))

    for document in documents:
        if guides.is_settings(document):
            load(tmp_path, yaml.safe_dump(document).replace("DIGEST", "0" * 64))
        else:
            assert guides.is_object(document) or guides.is_values(document), block.place


@of("json")
def test_each_line_of_json_is_json(block: Block) -> None:
    """
    Whoever copies it has something that is read.
    """
    assert json.loads(block.text)


@of("ini")
def test_each_variable_is_one_that_a_peer_reads(block: Block) -> None:
    """
    Their names are those of core.yaml, and no peer tells that it does not know one.
    """
    for line in block.text.splitlines():
        name, _, value = line.partition("=")
        assert name in VARIABLES_OF_PEERS, line
        assert value


# Of `sampleconfig/core.yaml` and `core/chaincode/config.go` of Fabric 1.4 to 3.1.
VARIABLES_OF_PEERS = (
    "CORE_CHAINCODE_EXTERNALBUILDERS",
    "CORE_PEER_CHAINCODEADDRESS",
    "CORE_PEER_CHAINCODELISTENADDRESS",
    "CORE_VM_DOCKER_ATTACHSTDOUT",
    "CORE_VM_DOCKER_TLS_CA_FILE",
    "CORE_VM_DOCKER_TLS_CERT_FILE",
    "CORE_VM_DOCKER_TLS_ENABLED",
    "CORE_VM_DOCKER_TLS_KEY_FILE",
    "CORE_VM_ENDPOINT",
)


@pages
def test_each_command_of_peitho_is_there_with_its_options(page: Path) -> None:
    """
    In sentences as in blocks, also in those that are not run.
    """
    for words in PEITHO.findall(page.read_text()):
        name, *rest = shlex.split(words)
        if name in NO_COMMANDS:
            continue
        command: click.Command = cli.main
        if name.startswith("-"):
            name, rest = "serve", [name, *rest]
        for word in (name, *rest):
            if isinstance(command, click.Group) and not word.startswith("-"):
                assert word in command.commands, words
                command = command.commands[word]
        options = {option for parameter in command.params for option in parameter.opts}
        given = {word.partition("=")[0] for word in rest if word.startswith("-") and word != "-"}
        assert given <= options | {"--help", "-h"}, words


@pages
def test_each_command_within_a_sentence_is_run_or_is_said_why_not(page: Path) -> None:
    """
    What looks is run in a journey; of the others each has its reason here.
    """
    for command in guides.inline(page):
        assert guides.is_run(command) or command in guides.NOT_RUN, command


def test_no_reason_is_for_a_command_that_is_gone() -> None:
    """
    Else it would pass for one that comes later.
    """
    said = {command for page in PAGES for command in guides.inline(page)}

    assert set(guides.NOT_RUN) <= said
