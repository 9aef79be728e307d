"""The Android app of this repository: its assets are all that it needs to know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from micro_yolo.tflite.contract import Contract
from micro_yolo.tflite.package import folder_name
from micro_yolo.tflite.targets.base import Target

ASSETS = Path(__file__).resolve().parents[2] / "android_demo/app/src/main/assets/models"


class Android(Target):
    """RUN_VARIANT.tflite and its contract, with grids RUN_VARIANT_raw.tflite."""

    name = "android"
    help = "the model and its contract into the Android app of this repository, as RUN_VARIANT"

    def folder(self, export: Path) -> Path:
        """The app's. ValueError if it is not there, as in an installed package."""
        if not ASSETS.is_dir():
            raise ValueError(f"android: {ASSETS} does not exist; run from a clone of the repository, which has the app")
        return ASSETS

    def names(self, name: str, variant: str, head: str) -> tuple[str, ...]:
        """The model, then its contract."""
        stem = f"{name}_{variant}{'' if head == 'detections' else '_raw'}"
        return f"{stem}.tflite", f"{stem}.json"

    def files(self, name: str, data: bytes, contract: Contract) -> dict[str, bytes]:
        """Of the training data the app learns the folder's name alone."""
        model, beside = self.names(name, contract.variant, contract.head)
        public = replace(contract, data=replace(contract.data, path=folder_name(contract.data.path)))
        return {model: data, beside: public.to_json().encode()}
