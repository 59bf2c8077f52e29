"""Tests in Rust product files are told apart from the product and carried over."""

from __future__ import annotations

from agent.gate.rust_tests import own_tests, parts_of, product_of, with_tests_of

BASE = """\
pub fn f(x: u8) -> u8 { x } // mod tests {

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn one() { assert_eq!(f(1), 1, "}}"); }
}

pub fn g() {}
"""
FIXED = """\
pub fn f(x: u8) -> u8 { x + 1 }

#[allow(dead_code)]
#[cfg(all(test, feature = "std"))]
mod more {
    #[test]
    fn two() {}
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn one() { assert_eq!(f(1), 2); }
}

#[test]
fn alone() {}

#[cfg(not(test))]
mod real {}
"""


def test_the_parts() -> None:
    assert [part.name for part in parts_of(BASE)] == ["mod tests"]
    assert [part.name for part in parts_of(FIXED)] == ["mod more", "mod tests", "alone"]
    assert product_of(BASE) == "pub fn f(x: u8) -> u8 { x } // mod tests {\n\n\n\npub fn g() {}\n"
    assert "fn f" not in own_tests(FIXED) and "mod real" not in own_tests(FIXED)
    assert parts_of("fn f() {}\n#[cfg(test)]\nmod tests;\n") == []


def test_the_tests_of_the_fix_on_the_base() -> None:
    laid = with_tests_of(BASE, FIXED)
    assert laid is not None
    assert "x + 1" not in laid and "f(1), 2" in laid and "f(1), 1" not in laid
    assert [part.name for part in parts_of(laid)] == ["mod tests", "mod more", "alone"]
    assert product_of(laid).split() == product_of(BASE).split()
    assert '#[allow(dead_code)]\n#[cfg(all(test, feature = "std"))]\nmod more' in laid


def test_the_tests_of_the_base_on_the_fix() -> None:
    laid = with_tests_of(FIXED, BASE)
    assert laid is not None
    assert "x + 1" in laid and "f(1), 1" in laid and "fn alone" in laid


def test_nothing_to_carry() -> None:
    assert with_tests_of(BASE, BASE) is None
    assert with_tests_of(BASE, "pub fn f() {}\n") is None
    assert with_tests_of("pub fn f() {}", BASE) == "pub fn f() {}\n\n" + own_tests(BASE) + "\n"
