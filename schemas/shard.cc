#include "schemas/shard.h"

#include <fstream>
#include <sstream>

#include "schemas/cbor.h"
#include "schemas/error.h"
#include "schemas/new_file.h"

namespace headcount {
namespace {

constexpr std::string_view kFileMark = "headcount shards 1\n";

void write_ids(cbor::Writer& out, const std::vector<int32_t>& ids) {
  out.array(ids.size());
  for (const int32_t id : ids) out.integer(id);
}

int32_t read_id(cbor::Reader& in) {
  const int64_t value = in.integer();
  if (value < INT32_MIN || value > INT32_MAX) in.fail("a token id out of range");
  return static_cast<int32_t>(value);
}

std::vector<int32_t> read_ids(cbor::Reader& in) {
  std::vector<int32_t> ids;
  for (uint64_t n = in.array(); n > 0; --n) ids.push_back(read_id(in));
  return ids;
}

void write_row(cbor::Writer& out, const Row& row) {
  out.array(8);
  out.natural(row.id);
  write_ids(out, row.ids);
  write_ids(out, row.labels);
  out.integer(row.span_begin);
  out.integer(row.span_end);
  out.array(row.choices.size());
  for (const auto& choice : row.choices) write_ids(out, choice);
  out.integer(row.choice_at);
  out.integer(row.label);
}

/// All but the rows, of which so many follow.
void write_head(cbor::Writer& out, const Shard& shard, size_t n_rows) {
  out.array(8);
  out.text(shard.kind);
  out.integer(shard.numerics_version);
  out.text(shard.model);
  out.text(shard.dtype);
  write_fields(out, shard.params);
  out.natural(shard.seed);
  out.integer(shard.micro_batch);
  out.array(n_rows);
}

/// Checks what every user of a row relies on: labels fit ids, spans and choices lie inside.
void check_row(const cbor::Reader& in, const Row& row) {
  const auto size = static_cast<int64_t>(row.ids.size());
  if (size == 0) in.fail("a row without tokens");
  if (!row.labels.empty() && row.labels.size() != row.ids.size())
    in.fail("a row whose labels do not fit its ids");
  if (row.span_begin < 0 || row.span_end < row.span_begin || row.span_end > size) {
    in.fail("a row whose span lies outside it");
  }
  if (row.choice_at < 0 || row.choice_at > size) in.fail("a row whose choices lie outside it");
  if (row.label < -1 || row.label >= static_cast<int64_t>(row.choices.size())) {
    in.fail("a row whose label names no choice");
  }
}

Row read_row(cbor::Reader& in) {
  Row row;
  in.array_of(8);
  row.id = in.natural();
  row.ids = read_ids(in);
  row.labels = read_ids(in);
  row.span_begin = read_id(in);
  row.span_end = read_id(in);
  for (uint64_t n = in.array(); n > 0; --n) {
    row.choices.push_back(read_ids(in));
    if (row.choices.back().empty()) in.fail("a choice without tokens");
  }
  row.choice_at = read_id(in);
  row.label = read_id(in);
  check_row(in, row);
  return row;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  if (!in) throw Error("cannot read the shard file " + path);
  return std::move(bytes).str();
}

}  // namespace

std::string encode(const Shard& shard) {
  cbor::Writer out;
  write_head(out, shard, shard.rows.size());
  for (const auto& row : shard.rows) write_row(out, row);
  return std::move(out.out);
}

Shard decode_shard(std::string_view bytes) {
  cbor::Reader in(bytes, "shard");
  Shard shard;
  in.array_of(8);
  shard.kind = in.text();
  shard.numerics_version = in.integer();
  shard.model = in.text();
  shard.dtype = in.text();
  shard.params = read_fields(in);
  shard.seed = in.natural();
  shard.micro_batch = in.integer();
  for (uint64_t n = in.array(); n > 0; --n) shard.rows.push_back(read_row(in));
  in.end();
  return shard;
}

ShardKey key(const Shard& shard) { return sha256(encode(shard)); }

Digest key_of_rows(std::span<const Row> rows) {
  constexpr size_t kAtOnce = 1 << 16;  // bytes
  Sha256 sha;
  cbor::Writer out;
  write_head(out, Shard(), rows.size());
  for (const auto& row : rows) {
    write_row(out, row);
    if (out.out.size() < kAtOnce) continue;
    sha.update(out.out);
    out.out.clear();
  }
  sha.update(out.out);
  return sha.finish();
}

void write_shard_file(const std::string& path, const ShardFile& file) {
  cbor::Writer out;
  out.map(file.model_paths.size());
  for (const auto& [model, model_path] : file.model_paths) {
    out.text(model);
    out.text(model_path);
  }
  out.array(file.shards.size());
  for (const auto& shard : file.shards) out.bytes(encode(shard));
  write_file(path, std::string(kFileMark) + out.out);
}

ShardFile read_shard_file(const std::string& path) {
  const std::string bytes = read_file(path);
  if (!bytes.starts_with(kFileMark)) {
    throw Error(
        path +
        " is not a shard file of this version; make one with: headcount plan SPEC --shards " +
        path);
  }
  const std::string what = "shard file " + path;
  cbor::Reader in(std::string_view(bytes).substr(kFileMark.size()), what);
  ShardFile file;
  for (uint64_t n = in.map(); n > 0; --n) {
    const std::string model(in.text());
    file.model_paths[model] = in.text();
  }
  for (uint64_t n = in.array(); n > 0; --n) file.shards.push_back(decode_shard(in.bytes()));
  in.end();
  return file;
}

}  // namespace headcount
