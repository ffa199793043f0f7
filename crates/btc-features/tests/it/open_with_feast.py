"""Opens what btc-features wrote with Feast, and writes what it should read.

usage: open_with_feast.py REGISTRY ONLINE_STORE ENTITY_ROWS APPLIED
Prints one JSON document: what Feast lists, joins and reads online. Applies
definitions of its own to the registry APPLIED.
"""

import json
import os
import sys
import tempfile
import warnings
from datetime import timedelta

warnings.filterwarnings("ignore")
os.environ["FEAST_USAGE"] = "False"

import pandas as pd
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, PushSource, RepoConfig, StreamFeatureView, ValueType
from feast.aggregation import Aggregation
from feast.types import Float64, Int64, String

try:
    import ibis  # noqa: F401

    OFFLINE = "duckdb"
except ImportError:
    OFFLINE = "dask"

registry, online, entity_rows, applied = sys.argv[1:]


def store(path):
    return FeatureStore(
        config=RepoConfig(
            project="bitcoin",
            registry=path,
            provider="local",
            offline_store={"type": OFFLINE},
            online_store={"type": "sqlite", "path": online},
            entity_key_serialization_version=3,
        )
    )


ours = store(registry)
service = ours.get_feature_service("daily_bitcoin_v1")
joined = ours.get_historical_features(entity_df=pd.read_parquet(entity_rows), features=service).to_df()
joined = joined.sort_values("event_timestamp")
names = ["open", "close", "hash_rate"]
# Without entities, Feast still wants a row to know how many answers to give;
# and a join changes what an open store thinks of such views.
market = store(registry).get_online_features(
    features=["ohlcv:close", "blockchain:hash_rate"], entity_rows=[{"row": 1}]
).to_dict()
read = ours.get_online_features(
    features=["drivers:trips", "drivers:name", "drivers:trips_7d"], entity_rows=[{"driver_id": 1}, {"driver_id": 2}, {"driver_id": 9}]
).to_dict()
listed = {
    "entities": sorted(e.name for e in ours.list_entities()),
    "sources": sorted(s.name for s in ours.list_data_sources()),
    "views": {v.name: v.ttl.total_seconds() for v in ours.list_feature_views()},
    "services": sorted(s.name for s in ours.list_feature_services()),
    "join_keys": {v.name: v.join_keys for v in ours.list_feature_views()},
    "tags": {v.name: {f.name: f.tags for f in v.features} for v in ours.list_feature_views()},
    "materialized": {v.name: len(v.materialization_intervals) for v in ours.list_feature_views()},
}

theirs = store(applied)
folder = os.path.dirname(entity_rows)
driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64, description="who drives")
stats = FileSource(
    name="stats",
    path=folder + "/drivers.parquet",
    timestamp_field="event_timestamp",
    field_mapping={"driver": "driver_id"},
    owner="fleet",
)
ohlcv = FileSource(
    name="ohlcv",
    path=folder + "/ohlcv",
    timestamp_field="event_timestamp",
    created_timestamp_column="created_timestamp",
)
drivers = FeatureView(
    name="drivers",
    entities=[driver],
    ttl=timedelta(days=1, milliseconds=250),
    schema=[Field(name="trips", dtype=Int64), Field(name="name", dtype=String), Field(name="driver_id", dtype=Int64)],
    source=stats,
    online=False,
    tags={"team": "fleet"},
)
prices = FeatureView(
    name="ohlcv",
    entities=[],
    ttl=timedelta(days=3),
    schema=[Field(name="open", dtype=Float64), Field(name="close", dtype=Float64)],
    source=ohlcv,
)
daily = FeatureService(
    name="daily", features=[prices[["close"]], drivers.with_name("cab").with_join_key_map({"driver_id": "cab_id"})]
)
totals = StreamFeatureView(
    name="totals",
    entities=[driver],
    ttl=timedelta(days=1),
    source=PushSource(name="pushed", batch_source=stats),
    aggregations=[
        Aggregation(column="trips", function="sum", time_window=timedelta(days=7)),
        Aggregation(column="trips", function="avg", time_window=timedelta(hours=1), name="hourly"),
    ],
    timestamp_field="event_timestamp",
    mode="spark",
    schema=[Field(name="sum_trips_604800s", dtype=Int64, tags={"unit": "rides"}), Field(name="hourly", dtype=Float64)],
)
theirs.apply([driver, stats, ohlcv, drivers, prices, totals, daily])

print(
    json.dumps(
        {
            "listed": listed,
            "offline": OFFLINE,
            "joined": {n: [None if pd.isna(x) else x for x in joined[n]] for n in names},
            "times": [int(t.timestamp()) for t in joined["event_timestamp"]],
            "online": read,
            "market": market,
        }
    )
)
