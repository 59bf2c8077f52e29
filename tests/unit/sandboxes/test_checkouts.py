"""Which images were made around a checkout is told by their names, or by a label that can't name just any place."""

from __future__ import annotations

import pytest

from sandboxes.checkouts import layout_of
from sandboxes.errors import SetupFailed


@pytest.mark.parametrize(
    ("image", "folders"),
    [
        ("swebench/sweb.eval.x86_64.astropy_1776_astropy-12907:latest", "/testbed"),
        ("sweb.eval.arm64.astropy__astropy-12907:latest", "/testbed"),
        ("mirror.example:5000/x/sweb.eval.x86_64.a_1776_b-1@sha256:" + "0" * 64, "/testbed"),
        ("jefzda/sweap-images:nodebb.nodebb-NodeBB__NodeBB-04998908", "/app"),
        ("mswebench/cli_m_cli:pr-123", "/testbed /home/*"),
        ("python:3.12", None),
        ("sweb.eval/python:3.12", None),
        ("company/farm_m_app:v5", None),
    ],
)
def test_a_benchmarks_image_is_known_by_its_name(image, folders):
    layout = layout_of(image, {})
    assert (layout and layout.folders) == folders


def test_a_label_names_the_checkout_of_any_image_and_goes_before_its_name():
    assert layout_of("x", {"assay.checkout": "/srv/my app"}).folders == "'/srv/my app'"
    assert layout_of("a/sweap-images:t", {"assay.checkout": "/app/x"}).folders == "/app/x"
    assert layout_of("x", {"assay.checkout": ""}) is None


@pytest.mark.parametrize(
    "label", ["/", "app", "/app/..", "/usr", "/opt", "/workspace", "/app/", "//app", "/home/../"]
)
def test_a_label_that_names_no_place_of_a_checkout_is_refused(label):
    with pytest.raises(SetupFailed, match="names no folder that a checkout can be in"):
        layout_of("x", {"assay.checkout": label})
