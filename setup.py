"""Build hook: hw_configs/ and workloads/ → npusim/_data in the wheel."""

import os
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py

DATA_FOLDERS = ("hw_configs", "workloads")


def data_files() -> list[str]:
    """Paths of the bundled files, relative to the project folder."""
    return sorted(
        os.path.join(folder, name)
        for top in DATA_FOLDERS
        for folder, _, names in os.walk(top)
        for name in names
        if name.endswith((".yaml", ".json", ".md", ".csv", ".jsonl"))
    )


class BuildWithData(build_py):
    """An editable install copies nothing: the loader falls back to the checkout's own folders."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        for source in data_files():
            target = self._target(source)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(source, target)

    def get_source_files(self):
        return [*super().get_source_files(), *data_files()]

    def get_outputs(self, include_bytecode=1):
        copied = [] if self.editable_mode else [self._target(source) for source in data_files()]
        return [*super().get_outputs(include_bytecode), *copied]

    def _target(self, source: str) -> str:
        return os.path.join(self.build_lib, "npusim", "_data", source)


setup(cmdclass={"build_py": BuildWithData})
