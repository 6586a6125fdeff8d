"""Folders as `datasets` 4 writes them with save_to_disk, written with pyarrow alone."""

import json

import pyarrow


def save_dataset(folder, columns, class_names=None, shards=1):
    """What `Dataset.from_dict(columns).save_to_disk(folder, num_shards=shards)` leaves."""
    folder.mkdir(parents=True)
    table = pyarrow.table(columns)
    features = {name: {"dtype": str(table.schema.field(name).type), "_type": "Value"} for name in columns}
    for name, names in (class_names or {}).items():
        features[name] = {"names": list(names), "_type": "ClassLabel"}
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    files = []
    for shard in range(shards):
        rows = table.slice(
            shard * len(table) // shards, (shard + 1) * len(table) // shards - shard * len(table) // shards
        )
        name = f"data-{shard:05d}-of-{shards:05d}.arrow"
        with pyarrow.OSFile(str(folder / name), "wb") as sink:
            schema = rows.schema.with_metadata(metadata)
            with pyarrow.ipc.new_stream(sink, schema) as writer:
                writer.write_table(rows.replace_schema_metadata(metadata), max_chunksize=7)
        files.append({"filename": name})
    state = {
        "_data_files": files, "_fingerprint": "0123456789abcdef", "_format_columns": None,
        "_format_kwargs": {}, "_format_type": None, "_output_all_columns": False, "_split": None,
    }  # fmt: skip
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"citation": "", "features": features}))
    return folder


def save_dataset_dict(folder, parts, class_names=None):
    """What `DatasetDict({name: Dataset.from_dict(columns)}).save_to_disk(folder)` leaves."""
    folder.mkdir(parents=True)
    for name, columns in parts.items():
        save_dataset(folder / name, columns, class_names)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(parts)}))
    return folder
