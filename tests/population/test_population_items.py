"""From ids back to what the table holds of an item."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from vflc_common.values import Values
from vflc_runtime.data.encoders import encode
from vflc_runtime.population.new_users import decoder


@pytest.mark.parametrize("default", [None, "other", {"value": 3}])
@pytest.mark.parametrize(
    "encoder", [{"name": "index", "n": 5}, {"name": "vocab", "values": [7, 3, 0]}], ids=lambda e: e["name"]
)
def test_an_id_is_the_item_that_has_it(encoder: dict[str, Any], default: Any) -> None:
    chain = [encoder | {"default": default}]
    decode = decoder(chain)
    assert decode is not None
    items = encoder.get("values") or [*range(5)]
    ids = encode(Values(pa.array(items, pa.int64())), chain[0]).flat.to_numpy()
    assert decode(ids).to_pylist() == items
    if default == "other":
        assert decode(np.array([0])).to_pylist() == [None], "all others are no item of the table"


def test_an_id_that_is_no_lookup_stays_unknown() -> None:
    for chain in ([{"name": "hash", "buckets": 3, "salt": None}], [{"name": "lower"}, {"name": "vocab"}], []):
        assert decoder(chain) is None
