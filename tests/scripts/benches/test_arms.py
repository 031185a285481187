from __future__ import annotations

import pytest

from active_indexing.activation.config import ActivationConfig
from scripts.benches.arms import active_arms


def test_arms_are_methods_times_psnrs_but_fixed_ones_are_there_once() -> None:
    specs = [
        "published:psnr=none",
        "published:optimizer=Adam,lr=1e-1,use_tanh=False,scaling=2",
        "robust:strength=gentle",
        "robust",
    ]
    arms = active_arms(specs, [42, 46])
    assert [(arm.spec, arm.psnr) for arm in arms] == [
        (specs[0], None), (specs[1], 42), (specs[1], 46), (specs[2], None), ("robust", 42), ("robust", 46),
    ]  # fmt: skip
    assert arms[1].activation == ActivationConfig(
        method="published", psnr=42, optimizer="Adam,lr=1e-1", use_tanh=False, scaling=2.0
    )
    assert len({arm.folder for arm in arms}) == len(arms)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("robots", "--methods robots: unknown method 'robots'; choose one of"),
        ("robust:steps=3", "'steps=3' is no setting; expected name:key=value"),
        ("robust:iterations", "'iterations' is no setting"),
        ("robust:iterations=few", "iterations can't be 'few'; expected a value like 10"),
        ("published:use_tanh=1", "use_tanh can't be '1'; expected a value like True"),
        ("robust:psnr=5", "--psnr must be from 20 to 60 dB"),
        ("published:target=moon", "--methods published:target=moon: .*moon"),
    ],
)
def test_methods_that_make_no_sense_are_refused(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        active_arms([spec], [42])


def test_one_arm_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="holds robust at 42 dB twice; give each once"):
        active_arms(["robust", "robust"], [42])
