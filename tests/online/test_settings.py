"""Settings come from the environment by group, within their bounds, and no name is passed over in silence."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from batch.settings import BatchSettings
from features.errors import BadInput
from features.settings import variable_of
from learning.settings import LearningSettings
from online.service_settings import OnlineSettings
from online.settings import PostprocessSettings


def test_a_variable_sets_one_field_of_a_group_and_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REX_ONLINE_RANK_TOP_K", "7")
    monkeypatch.setenv("REX_ONLINE_RANK_VALUE_WEIGHTS", '{"read": 6}')
    monkeypatch.setenv("REX_ONLINE_POSTPROCESS_PROMOTED_SLOTS", "[1, 2]")
    monkeypatch.setenv("REX_ONLINE_POSTPROCESS_PAGE_BLOCK", "")
    ranking = OnlineSettings().ranking
    assert (ranking.rank.top_k, ranking.rank.value_weights) == (7, {"read": 6.0})
    assert (ranking.postprocess.promoted_slots, ranking.postprocess.page_block) == ((1, 2), 20)


def test_a_value_out_of_bounds_is_refused_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REX_ONLINE_RANK_TOP_K", "0")
    with pytest.raises(ValidationError, match=r"rank\.top_k\n.*greater than or equal to 1"):
        OnlineSettings()


def test_what_does_not_fit_together_is_refused_however_it_is_given() -> None:
    with pytest.raises(ValidationError, match=r"add up to 1\.65"):
        OnlineSettings(postprocess={"share_followed": 1.0, "share_topics": 0.5})
    with pytest.raises(ValueError, match=r"add up to 1\.65"):
        PostprocessSettings(share_followed=1.0, share_topics=0.5)


def test_a_variable_of_an_old_or_misspelt_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REX_ONLINE_SLATE_SIZE", "10")
    with pytest.raises(BadInput, match=r"REX_ONLINE_SLATE_SIZE is not a setting.*CHANGELOG\.md"):
        OnlineSettings()


@pytest.mark.parametrize("kind", [BatchSettings, LearningSettings])
def test_batch_and_learning_refuse_them_too(
    kind: type[BatchSettings | LearningSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{kind.model_config['env_prefix']}NO_SUCH"
    monkeypatch.setenv(name, "1")
    with pytest.raises(BadInput, match=f"{name} is not a setting.*"):
        kind()


def test_an_error_of_a_setting_has_the_name_of_its_variable() -> None:
    assert variable_of("OnlineSettings", ("rank", "value_weights", "read")) == "REX_ONLINE_RANK_VALUE_WEIGHTS"
    assert variable_of("OnlineSettings", ("postprocess",)) == "REX_ONLINE_POSTPROCESS_*"
    assert variable_of("LearningSettings", ("cadence_d",)) == "REX_LEARNING_CADENCE_D"
    assert variable_of("Settings", ()) is None
    assert variable_of("WorldConfig", ("users",)) is None
