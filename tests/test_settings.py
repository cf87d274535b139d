"""Every setting reaches its end: each has a test that changes it and sees the effect, named here.

A new field of a settings class fails here until its test is named.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from unetseg.config import ClassSource, GuideSource, ScanSource, Settings, to_plain

TESTS = Path(__file__).parent

# By the file of the tests: the setting, and the test.
PROOFS: Mapping[str, Mapping[str, str]] = {
    "unetseg/test_ingest.py": {
        "ingest.normalisation": "normalisation_settings_reach_the_pixels",
        "ingest.low_percentile": "normalisation_settings_reach_the_pixels",
        "ingest.high_percentile": "normalisation_settings_reach_the_pixels",
        "ingest.fixed_low": "normalisation_settings_reach_the_pixels",
        "ingest.fixed_high": "normalisation_settings_reach_the_pixels",
        "ingest.dtype": "the_type_of_the_stored_intensities_is_set",
        "ingest.chunk": "the_size_of_a_chunk_is_set",
        "ingest.resize_masks": "masks_of_another_size_are_resized_only_when_told",
        "ingest.validation_fraction": "the_shares_of_the_splits_are_set",
        "ingest.test_fraction": "the_shares_of_the_splits_are_set",
        "ingest.max_failed_fraction": "the_share_of_scans_that_may_fail_is_set",
        "ingest.max_scan_gigabytes": "the_largest_scan_is_set",
        "ingest.workers": "workers_and_cluster_are_passed_on",
        "sources.scans.group": "scans_of_a_group_are_never_torn_apart",
        "sources.scans.table": "a_table_decides_groups_and_splits",
        "sources.scans.channels": "two_channels_of_which_one_is_opaque_become_three_alike",
    },
    "unetseg/test_model.py": {
        "model.depth": "every_level_skips_its_features_across",
        "model.width": "settings_reach_their_layers",
        "model.max_width": "width_doubles_at_each_halving_up_to_the_widest",
        "model.block": "settings_decide_which_layers_there_are",
        "model.normalisation": "settings_decide_which_layers_there_are",
        "model.activation": "settings_decide_which_layers_there_are",
        "model.dropout": "dropout_sits_after_the_convolutions_of_its_level",
        "model.upsampling": "the_decoder_doubles_in_its_own_way_at_each_level",
        "model.attention": "settings_decide_which_layers_there_are",
        "model.fusion": "settings_decide_which_layers_there_are",
        "model.outputs": "settings_decide_which_layers_there_are",
        "model.head": "settings_decide_which_layers_there_are",
    },
    "unetseg/test_blocks.py": {"model.fusion_upsampling": "the_fusion_branch_upsamples_in_its_own_way"},
    "unetseg/test_train.py": {
        "loss.cross_entropy": "loss_settings_reach_the_loss",
        "loss.dice": "loss_settings_reach_the_loss",
        "loss.focal": "loss_settings_reach_the_loss",
        "loss.tversky": "loss_settings_reach_the_loss",
        "loss.focal_tversky": "loss_settings_reach_the_loss",
        "loss.focal_gamma": "loss_settings_reach_the_loss",
        "loss.tversky_alpha": "loss_settings_reach_the_loss",
        "loss.tversky_beta": "loss_settings_reach_the_loss",
        "loss.focal_tversky_gamma": "loss_settings_reach_the_loss",
        "loss.given_class_weights": "given_class_weights_reach_the_cross_entropy",
        "loss.scale_weights": "outputs_share_the_loss_by_halves_or_as_told",
        "train.epochs": "progress_is_by_epochs_or_by_time_whichever_is_further",
        "train.max_minutes": "the_time_budget_ends_an_epoch_early_and_keeps_what_was_learned",
        "train.learning_rate": "optimiser_settings_reach_the_model",
        "train.weight_decay": "optimiser_settings_reach_the_model",
        "train.clip_norm": "optimiser_settings_reach_the_model",
        "train.ema": "optimiser_settings_reach_the_model",
        "train.patience": "patience_stops_training",
        "train.warm_start": "a_warm_start_begins_with_the_weights_of_production",
        "train.precision": "what_was_trained_in_mixed_precision_runs_in_every_engine",
    },
    "unetseg/test_class_statistics.py": {
        "loss.class_weights": "training_takes_the_very_weights_that_are_shown",
        "loss.max_class_weight": "class_weights_follow_their_formulas",
    },
    "unetseg/test_augment.py": {
        "augment.flips": "every_setting_reaches_the_patch",
        "augment.warped_fraction": "every_setting_reaches_the_patch",
        "augment.rotation": "every_setting_reaches_the_patch",
        "augment.scale": "every_setting_reaches_the_patch",
        "augment.elastic": "every_setting_reaches_the_patch",
        "augment.contrast": "every_setting_reaches_the_patch",
        "augment.brightness": "every_setting_reaches_the_patch",
        "augment.noise": "every_setting_reaches_the_patch",
    },
    "unetseg/test_patches.py": {
        "train.steps_per_epoch": "fit_sees_the_batches_of_each_epoch_in_order",
        "train.batch": "a_batch_has_the_shapes_and_types_that_the_network_takes",
        "train.foreground_fraction": "foreground_patches_hold_foreground",
        "train.seed": "a_batch_depends_on_seed_epoch_and_number_alone",
    },
    "unetseg/test_plan.py": {"train.patch": "what_is_set_is_kept_and_the_rest_fits_it"},
    "unetseg/test_schedules.py": {"train.schedule": "a_constant_rate_only_warms_up"},
    "unetseg/test_probes.py": {
        "train.monitor": "recall_at_a_precision",
        "train.monitor_precision": "recall_at_a_precision",
    },
    "unetseg/test_devices.py": {"train.devices": "devices_that_share_batches_learn_and_score_what_one_does"},
    "unetseg/test_nightly.py": {
        "train.gpu": "a_night_that_needs_a_gpu_is_refused_before_any_work_where_there_is_none",
        "gate.keep_models": "old_versions_are_let_go_where_the_settings_say_so",
        "nightly.when_busy": "a_night_is_skipped_by_rule_while_another_run_works_on_the_project",
        "nightly.predict_folder": "a_folder_is_segmented_at_the_end_of_each_night_and_only_what_is_new",
        "nightly.predict_out": "a_folder_is_segmented_at_the_end_of_each_night_and_only_what_is_new",
    },
    "unetseg/test_thresholds.py": {
        "evaluate.criterion": "an_unreachable_criterion_falls_back_to_the_best_f1_and_says_so",
        "evaluate.class_criteria": "a_class_with_its_own_criterion_is_chosen_on_its_own",
        "evaluate.beta": "beta_above_one_leans_to_recall",
        "evaluate.target": "recall_at_precision_takes_the_highest_recall_and_then_the_highest_threshold",
        "evaluate.fixed_threshold": "fixed_takes_the_setting_rounded_to_a_bin",
    },
    "unetseg/test_joint_thresholds.py": {"evaluate.average": "the_choice_is_the_best_of_all_combinations"},
    "unetseg/test_decisions.py": {"evaluate.decision": "rule_follows_setting_and_head"},
    "unetseg/test_evaluate.py": {
        "evaluate.surface_tolerance": "outlines_are_measured_as_on_whole_masks",
        "predict.masks": "exclusive_classes_are_decided_by_the_highest_probability_everywhere",
    },
    "unetseg/test_bootstrap.py": {
        "evaluate.draws": "every_setting_of_the_bootstrap_has_an_effect",
        "evaluate.confidence": "every_setting_of_the_bootstrap_has_an_effect",
        "evaluate.seed": "every_setting_of_the_bootstrap_has_an_effect",
    },
    "unetseg/test_gate_rules.py": {
        "gate.score": "every_score_can_be_chosen",
        "gate.tolerance": "a_wider_tolerance_lets_the_same_pass",
        "gate.class_tolerances": "a_narrower_tolerance_of_one_class_keeps_production",
    },
    "unetseg/test_gate.py": {"gate.floor": "the_first_model_must_reach_the_floor"},
    "unetseg/test_predict.py": {
        "predict.engine": "the_engine_is_the_one_that_is_set",
        "predict.format": "outputs_have_the_size_of_their_scans_and_keep_names_and_folders",
        "predict.objects": "holes_that_are_filled_and_objects_that_are_dropped_are_those_of_scikit_image",
        "predict.min_object": "holes_that_are_filled_and_objects_that_are_dropped_are_those_of_scikit_image",
        "predict.fill_holes": "holes_that_are_filled_and_objects_that_are_dropped_are_those_of_scikit_image",
        "predict.tile": "the_tile_is_settled_by_who_starts_and_counts_only_where_tiles_are_blended",
        "predict.probabilities": "masks_are_the_network_s_probabilities_cut_at_the_thresholds",
        "predict.max_failed_fraction": "too_many_bad_scans_fail_after_the_good_ones_are_stored",
    },
    "unetseg/test_predictions.py": {"predict.pattern": "two_patterns_of_one_folder_are_two_predictions"},
    "unetseg/test_listing.py": {"predict.exclude": "exclude_of_predict_leaves_scans_out"},
    "unetseg/test_guides.py": {"predict.guides": "prediction_uses_the_guides_and_sets_scans_without_aside"},
    "unetseg/test_precision.py": {
        "predict.precision": "whoever_starts_decides_for_all_workers_and_outputs_know_it",
    },
    "unetseg/test_flips.py": {"predict.flips": "flips_are_recorded_told_of_and_evaluated_anew"},
    "unetseg/test_predict_capacity.py": {
        "predict.workers": "processes_share_the_cores",
        "predict.processes": "processes_share_the_cores",
        "predict.resource": "a_cluster_counts_by_its_threads_that_may_do_the_work",
    },
    "unetseg/test_predict_batches.py": {"predict.batch": "stacks_are_not_cut_apart_and_batches_are_numbered"},
    "unetseg/test_predict_object_store.py": {
        "predict.scratch": "bands_of_a_killed_run_are_found_in_the_folder_that_was_named",
    },
    "unetseg/test_pixel_size.py": {"predict.pixel_size": "each_setting_does_what_it_says"},
    "unetseg/test_predict_estimate.py": {"predict.max_scan_gigabytes": "a_scan_beyond_the_limit_is_told_of"},
    "unetseg/test_model_card.py": {
        "card.licence": "what_was_stated_is_there_also_for_machines",
        "card.intended_use": "what_was_stated_is_there_also_for_machines",
        "card.limitations": "what_was_stated_is_there_also_for_machines",
        "card.authors": "what_was_stated_is_there_also_for_machines",
    },
    "unetseg/test_readers.py": {
        "sources.scans.path": "missing_folder_names_it",
        "sources.scans.pattern": "pattern_chooses",
        "sources.scans.exclude": "exclude_leaves_out_by_path_or_by_name",
    },
    "unetseg/test_masks.py": {
        "sources.classes.name": "result_is_int8_in_the_order_of_the_names",
        "sources.classes.path": "result_is_int8_in_the_order_of_the_names",
        "sources.classes.pattern": "pattern_finds_the_file",
        "sources.classes.encoding": "labels_hold_overlaps_as_values_of_their_own",
        "sources.classes.values": "labels_hold_overlaps_as_values_of_their_own",
        "sources.guides.name": "missing_guide_names_scan_and_guide",
        "sources.guides.path": "missing_guide_names_scan_and_guide",
        "sources.guides.pattern": "pattern_finds_the_file",
    },
}
FOUND = [(file, name, f"test_{test}") for file, tests in PROOFS.items() for name, test in tests.items()]
POSITIONAL = {"name", "path", "pattern"}  # of sources: given without their names


def settings() -> Iterator[str]:
    """Every field that a project file may set."""
    yield from (f"{stage}.{name}" for stage, fields in to_plain(Settings()).items() for name in fields)
    for part, kind in (("scans", ScanSource), ("classes", ClassSource), ("guides", GuideSource)):
        yield from (f"sources.{part}.{name}" for name in kind.__dataclass_fields__)


@cache
def sources(file: str) -> dict[str, str]:
    """The source of each function of a file, and of each constant, by their names."""
    text = (TESTS / file).read_text(encoding="utf-8")
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            first = min([item.lineno for item in node.decorator_list] + [node.lineno])
            found[node.name] = "\n".join(text.splitlines()[first - 1 : node.end_lineno])
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ast.unparse(node)
    return found


def with_what_it_names(file: str, test: str) -> str:
    """The source of a test, and of the functions and constants of its file that it names."""
    own = sources(file)[test]
    return "\n".join([own, *(text for name, text in sources(file).items() if re.search(rf"\b{name}\b", own))])


def test_each_setting_has_a_test_that_sees_its_effect():
    assert sorted(name for _, name, _ in FOUND) == sorted(settings())


@pytest.mark.parametrize(("file", "name", "test"), FOUND, ids=[name for _, name, _ in FOUND])
def test_that_test_is_there_and_changes_the_setting(file: str, name: str, test: str):
    field = name.rpartition(".")[2]
    assert test in sources(file), f"{file} has no {test}"
    named = field in POSITIONAL or re.search(rf"\b{field}\b", with_what_it_names(file, test))
    assert named, f"{test} of {file} does not name {field}: it cannot change it"
