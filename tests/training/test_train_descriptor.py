"""The command line of scripts/train_descriptor.py."""

import importlib.util
from pathlib import Path

import pytest

from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.training.augmentations.registry import build_edits
from active_indexing.training.config import TrainingImages
from active_indexing.training.objectives.patches import PatchContrastConfig
from active_indexing.training.objectives.relational import RDCDConfig
from active_indexing.training.recipes.registry import RECIPES, recipe

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_descriptor.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("train_descriptor", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_flags_become_the_settings_of_a_recipe(script):
    flags = "--recipe sscd_mixup --source a/b.tar:64:62 --source c:160:2:200 --output_dir out --steps 500"
    config, run = script.settings(script.build_parser().parse_args([*flags.split(), "--processes", "2"]))
    assert config.objective == RECIPES["sscd_mixup"].objective
    assert (config.schedule.steps, config.schedule.warmup_steps, config.schedule.decay_start) == (500, 500, 0)
    assert run.sources == (TrainingImages(Path("a/b.tar"), 64, 62), TrainingImages(Path("c"), 160, 2, 200))
    assert run.processes == 2


def test_batch_norms_are_synchronised_as_the_recipe_says_unless_a_flag_says_otherwise(script):
    def chosen(*flags):
        arguments = script.build_parser().parse_args(["--source", "a:64:8", "--output_dir", "out", *flags])
        return script.settings(arguments)[0].sync_bn

    assert [chosen(), chosen("--sync_bn")] == [False, True]
    published = ("--recipe", "sscd_mixup")
    assert [chosen(*published), chosen(*published, "--no-sync_bn")] == [True, False]


def chosen(script, flags):
    return script.settings(script.build_parser().parse_args([*flags.split(), "--output_dir", "out"]))[0]


@pytest.mark.parametrize(
    ("flags", "rate"),
    [
        ("--recipe sscd_mixup --source a:64:4096", 4.8),  # the published batch
        ("--recipe sscd_mixup --source a:64:64", 0.075),
        ("--recipe sscd_blur --source a:64:60 --source b:160:4 --processes 4", 0.3),
        ("--recipe sscd_blur --source a:64:64 --base_learning_rate 0.1", 0.025),
        ("--recipe sscd_blur --source a:64:64 --learning_rate 0.1", 0.1),
        ("--recipe sscd_blur --source a:64:64 --absolute_learning_rate 0.2", 0.2),
        ("--recipe rdcd --source a:64:128", 0.5),
        ("--recipe kd_icd --source a:64:128", 0.3),  # the published program does not scale it
        ("--recipe default --source a:64:128", 5e-4),
    ],
)
def test_the_learning_rate_grows_with_the_batch_where_it_does_as_published(script, flags, rate):
    assert chosen(script, flags).learning_rate == pytest.approx(rate)


def test_published_flags_change_the_recipe(script):
    flags = "--recipe sscd_mixup --source a:64:8 --entropy_weight 10 --infonce_temperature 0.1 --dims 64"
    config = chosen(
        script, f"{flags} --backbone CV_RESNEXT101 --pool_param 2 --weight_decay 0 --sync_bn=false"
    )
    assert (config.objective.loss.entropy_weight, config.objective.loss.temperature) == (10, 0.1)
    assert config.objective.mixing == RECIPES["sscd_mixup"].objective.mixing
    assert (config.backbone, config.dim, config.gem_p) == ("resnext101_32x4d", 64, 2)
    assert (config.weight_decay, config.sync_bn) == (0, False)
    wanted = "--entropy_weight is a term that the recipe rdcd does not have; leave it out"
    with pytest.raises(ValueError, match=wanted):
        chosen(script, "--recipe rdcd --source a:64:8 --entropy_weight 10")


def test_two_learning_rates_are_refused(script, capsys):
    with pytest.raises(SystemExit):
        chosen(script, "--source a:64:8 --learning_rate 1 --base_learning_rate 1")
    assert "--base_learning_rate: not allowed with argument --learning_rate" in capsys.readouterr().err


def test_the_published_recipe_has_the_published_settings():
    config = recipe("sscd_mixup")
    assert (config.backbone, config.dim, config.gem_p, config.optimizer) == ("resnet50", 512, 3.0, "lars")
    assert config.learning_rate == pytest.approx(4.8)
    assert (config.objective.loss.temperature, config.objective.loss.entropy_weight) == (0.05, 30.0)
    assert (config.objective.mixing.probability, config.objective.mixing.alpha) == (0.05, 2.0)
    assert (config.schedule.steps, config.schedule.warmup_steps) == (24_400, 1_220)


@pytest.mark.parametrize("name", ["sscd_simclr", "sscd_blur"])
def test_recipes_without_drawings_build_their_views(name):
    assert callable(build_edits(recipe(name)).edited_views)


@pytest.mark.parametrize("text", ["folder", "folder:64", "folder:64:x", ":64:2", "folder:64:0"])
def test_a_source_of_another_form_is_refused(script, text):
    with pytest.raises(ValueError, match=r"is not FOLDER_OR_TAR:EDGE:IMAGES or \.\.\.:LIMIT"):
        script.parse_source(text)


def test_errors_of_the_user_are_one_sentence_and_exit_code_2(script, capsys, tmp_path):
    arguments = ["--source", f"{tmp_path}/none:64:8", "--output_dir", str(tmp_path / "out")]
    assert script.main(arguments) == 2
    assert "train_descriptor: the training images" in capsys.readouterr().err
    assert script.main([*arguments, "--recipe", "magic"]) == 2
    assert "unknown --recipe 'magic'; choose one of default" in capsys.readouterr().err
    assert script.main([*arguments, "--recipe", "math:pi"]) == 2
    wanted = "the --recipe 'math:pi' can't be used: it is a float; expected a TrainingConfig"
    assert wanted in capsys.readouterr().err


def test_flags_name_a_teacher_a_start_and_another_student(script):
    flags = (
        "--source a:64:8 --output_dir out --recipe rdcd --teacher t.onnx --teacher_size 160 --teacher_dim 64"
    )
    flags += " --teacher_dim 64 --dim 32 --backbone resnet18 --learning_rate 0.5 --start s.pt --no-fit_head"
    config, run = script.settings(script.build_parser().parse_args(flags.split()))
    assert (config.dim, config.backbone, config.learning_rate) == (32, "resnet18", 0.5)
    assert config.objective == RDCDConfig(teacher_dim=64)
    assert run.teacher == DescriptorConfig(model_path=Path("t.onnx"), resize_size=160)
    assert (run.start, run.fit_head) == (Path("s.pt"), False)
    with pytest.raises(ValueError, match="--teacher_dim is a term that the recipe kd_icd does not have"):
        script.settings(script.build_parser().parse_args([*flags.split(), "--recipe", "kd_icd"]))


def test_a_contrast_of_patches_is_added_to_any_recipe_or_changed_where_there_is_one(script):
    added = chosen(script, "--source a:64:8 --copynce 2.5 --copynce_layer layer3").objective
    assert added == PatchContrastConfig(base=RECIPES["default"].objective, weight=2.5, layer="layer3")
    published = chosen(script, "--recipe copynce --source a:64:8").objective
    assert (published.weight, published.scale, published.gamma) == (5.0, 16.0, 3.0)
    assert (published.from_copies, published.layer) == (0.5, "trunk.blocks.10")
    assert chosen(script, "--recipe copynce --source a:64:8 --copynce 1").objective.weight == 1
    with pytest.raises(ValueError, match="give --copynce WEIGHT with it"):
        chosen(script, "--source a:64:8 --copynce_layer layer3")
    with pytest.raises(ValueError, match="a mixed view shows two images"):
        chosen(script, "--recipe kd_icd --source a:64:8 --copynce 5")


def test_the_weights_of_rdcd_and_kd_icd_are_the_published_flags(script):
    flags = "--moco_lambda 0.1 --kld_lambda 2 --hn_lambda 4 --temp 0.1 --m 0.9 --queue_size 100"
    config = chosen(script, f"--recipe rdcd --source a:64:8 {flags}")
    weights = {"contrast_weight": 0.1, "relation_weight": 2.0, "hard_negative_weight": 4.0}
    assert config.objective == RDCDConfig(temperature=0.1, momentum=0.9, queue_rows=100, **weights)
    kd = chosen(script, "--recipe kd_icd --source a:64:8 --kd_lambda 0.5 --queue_size 7 --entropy_weight 30")
    assert (kd.objective.weight, kd.objective.queue_rows, kd.objective.loss.entropy_weight) == (0.5, 7, 30)
    for recipe_name, flag in (("kd_icd", "--temp 1"), ("copynce", "--kd_lambda 1"), ("isc_v83", "--m 0.5")):
        with pytest.raises(ValueError, match=f"{flag.split()[0]} is a term that the recipe {recipe_name}"):
            chosen(script, f"--recipe {recipe_name} --source a:64:8 {flag}")
    inner = chosen(script, "--recipe copynce --source a:64:8 --entropy_weight 1").objective
    assert inner.base.loss.entropy_weight == 1


def test_stages_of_vit4icd_and_isc_have_the_published_settings(script):
    stages = [recipe(f"vit4icd_stage{name}") for name in ("1", "2a", "2b", "3")]
    assert [stage.sizes[0].size for stage in stages] == [256, 224, 224, 224]
    assert {(stage.dim, stage.instances, stage.learning_rate, stage.average_decay) for stage in stages} == {
        (512, 4, 3.5e-4, 0.9999)
    }
    assert {(stage.optimizer, stage.weight_decay, stage.grey) for stage in stages} == {("adamw", 0, True)}
    terms = [(each.objective.compatibility, each.objective.pairs, each.eval_mode) for each in stages]
    assert terms == [(0, 0, False), (100, 0, False), (100, 0, True), (100, 1, True)]
    first = stages[0].objective
    margins = (first.scale, first.feature_margin, first.descriptor_margin, first.classes)
    assert margins == (64, 0.35, 0.6, 100_000)
    steps = [recipe(f"isc_v{number}") for number in (83, 86, 98, 107)]
    assert [step.sizes[0].size for step in steps] == [256, 384, 512, 512]
    assert [step.learning_rate for step in steps] == [0.1, 0.1, 0.1, 0.5]
    memories = [(step.objective.memory_rows, step.objective.negative_margin) for step in steps]
    assert memories == [(20_000, 1.0)] * 3 + [(1_000, 1.1)]
    assert [step.objective.support for step in steps] == [False, False, True, False]
    run = "--recipe vit4icd_stage3 --source a:256:128 --support b:256:16 --pairs c:256:32 --classes 9"
    config, settings = script.settings(script.build_parser().parse_args([*run.split(), "--output_dir", "o"]))
    assert config.objective.classes == 9
    assert (settings.support, settings.pairs) == (
        TrainingImages(Path("b"), 256, 16),
        TrainingImages(Path("c"), 256, 32),
    )
