"""Which repository, which host, whose token."""

import subprocess

import pytest

from agent.errors import UsageError
from agent.forge.remote import (
    Place,
    is_github_issue,
    issue_ref,
    open_api,
    origin_place,
    parse_slug,
    place_of_remote,
)
from agent.git import Repository


def nobody(host):
    return None


@pytest.mark.parametrize(
    ("url", "host", "slug"),
    [
        ("https://github.com/octo/calc.git", "github.com", "octo/calc"),
        ("https://github.com/octo/calc", "github.com", "octo/calc"),
        ("https://github.com/octo/calc/", "github.com", "octo/calc"),
        ("https://token:x-oauth-basic@github.com/octo/calc.git", "github.com", "octo/calc"),
        ("git@github.com:octo/calc.git", "github.com", "octo/calc"),
        ("github.com:octo/calc", "github.com", "octo/calc"),
        ("ssh://git@github.com/octo/calc.git", "github.com", "octo/calc"),
        ("ssh://git@ssh.github.com:443/octo/calc.git", "github.com", "octo/calc"),
        ("git://github.com/octo/calc.git", "github.com", "octo/calc"),
        ("ssh://git@ghe.example.org:2222/octo/calc.git", "ghe.example.org", "octo/calc"),
        ("git@ghe.example.org:octo/calc.js.git", "ghe.example.org", "octo/calc.js"),
        ("https://GHE.example.org:8443/octo/calc.git", "ghe.example.org:8443", "octo/calc"),
        ("org-123@github.com:octo_corp/calc.git", "github.com", "octo_corp/calc"),
    ],
)
def test_a_remotes_url_names_a_repository(url, host, slug):
    assert place_of_remote(url) == Place(host, *slug.split("/"))


@pytest.mark.parametrize(
    "url",
    [
        "/srv/git/calc.git",
        "../calc",
        "file:///srv/git/calc.git",
        "https://github.com/octo",
        "https://github.com/octo/calc/sub.git/x",
        "https://github.com/octo/..",
        "C:\\repos\\calc",
        "https://github.com/o$(id)/calc",
        "",
    ],
)
def test_what_is_no_repository_of_a_host_is_none(url):
    place = place_of_remote(url)
    assert place is None or place.name == ".."


@pytest.fixture
def repo(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    with Repository(tmp_path) as repository:
        yield repository


def test_an_issue_is_named_by_number_or_url(repo):
    assert [
        is_github_issue(one) for one in ("123", "https://github.com/a/b/issues/1", "./123", "x.md", "-", "٣")
    ] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    with pytest.raises(UsageError, match="no remote named origin"):
        issue_ref("123", repo)
    subprocess.run(
        ["git", "-C", repo.path, "remote", "add", "origin", "git@github.com:octo/calc.git"], check=True
    )
    assert origin_place(repo) == Place("github.com", "octo", "calc")
    assert issue_ref("123", repo).number == 123
    there = issue_ref("https://ghe.example.org/octo/other/issues/5#issuecomment-1", repo)
    assert (there.place, there.number) == (Place("ghe.example.org", "octo", "other"), 5)
    for source, why in (
        ("https://github.com/octo/calc/pull/5", "pull request"),
        ("https://github.com/octo/calc", "not the URL of an issue"),
        ("https://github.com/octo/calc/issues/x", "not the URL of an issue"),
        ("0", "no number"),
        ("9" * 30, "no number"),
    ):
        with pytest.raises(UsageError, match=why):
            issue_ref(source, repo)


def test_slugs_are_owner_and_name_alone():
    assert parse_slug("octo/calc", "github.com", "--repository").slug == "octo/calc"
    for text in ("octo", "octo/calc/x", "octo/..", "../calc", "octo/ca lc", "octo/calc\n", "https://x/y"):
        with pytest.raises(UsageError, match="OWNER/NAME"):
            parse_slug(text, "github.com", "--repository")


def test_the_api_of_a_host_and_whose_token_goes_there():
    tokens = {"GITHUB_TOKEN": "for-github", "GH_ENTERPRISE_TOKEN": "for-ghe"}
    api = open_api("github.com", tokens, nobody)
    assert (api.url, api.graphql_url, api.token) == (
        "https://api.github.com",
        "https://api.github.com/graphql",
        "for-github",
    )
    ghe = open_api("ghe.example.org", tokens, nobody)
    assert (ghe.url, ghe.graphql_url, ghe.token) == (
        "https://ghe.example.org/api/v3",
        "https://ghe.example.org/api/graphql",
        "for-ghe",
    )
    tenant = open_api("corp.ghe.com", tokens, nobody)
    assert (tenant.url, tenant.token) == ("https://api.corp.ghe.com", "for-github")
    # a token for github.com does not go to another host
    assert open_api("ghe.example.org", {"GITHUB_TOKEN": "for-github"}, nobody).token is None
    # in an enterprise server's Actions, GITHUB_TOKEN is for GITHUB_API_URL
    own = {"GITHUB_API_URL": "https://ghe.example.org/api/v3/", "GITHUB_TOKEN": "t"}
    assert open_api("ghe.example.org", own, nobody).token == "t"
    assert open_api("github.com", {"GH_TOKEN": "second"}, nobody).token == "second"
    assert (
        open_api("github.com", {}, lambda host: f"gh's for {host}".replace(" ", "-")).token
        == "gh's-for-github.com"
    )


@pytest.mark.parametrize(
    ("host", "environ", "why"),
    [
        ("ghe.example.org", {"GITHUB_API_URL": "https://api.github.com"}, "is the API of github.com"),
        ("github.com", {"GITHUB_API_URL": "https://ghe.example.org/api/v3"}, "is the API of ghe.example.org"),
        ("github.com", {"GITHUB_API_URL": "https://api.corp.ghe.com"}, "is the API of corp.ghe.com"),
        ("github.com", {"GITHUB_API_URL": "http://api.example.org"}, "clear text"),
        ("github.com", {"GITHUB_API_URL": "ftp://x"}, "not the URL of an API"),
        ("github.com", {"GITHUB_API_URL": "https://user@x"}, "not the URL of an API"),
        ("github.com", {"GITHUB_TOKEN": "a b"}, "not a token"),
    ],
)
def test_what_can_not_be_right_is_refused(host, environ, why):
    with pytest.raises(UsageError, match=why):
        open_api(host, environ, nobody)
