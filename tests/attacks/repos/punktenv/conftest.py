import pytest


@pytest.fixture
def env_file(tmp_path):
    def write(text, name=".env"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write
