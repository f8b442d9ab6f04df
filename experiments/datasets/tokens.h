// The `tokens` task: rows made elsewhere, one JSON object a line. {"ids": [...], "labels": [...]}:
// labels[i] is what the logit at position i must predict, -100 = not supervised; ids are fed as
// they are, masks included. Or {"ids": [...], "choices": [[ids] ...], "label": i}: which choice
// continues ids, counted from 0. Blank lines are passed over.
#pragma once

#include <string>
#include <vector>

#include "models/files/config.h"
#include "schemas/row.h"

namespace headcount::datasets {

/// All rows, without ids. Throws Error naming file and line: not JSON, no object, a key unknown,
/// missing or of another type, an id or label outside the vocabulary, lengths that differ, nothing
/// supervised, more tokens than the model has positions, a line above 4 MiB or nested deeper than a
/// row is, rows of both forms in one file, no row at all.
std::vector<Row> read_tokens(const std::string& path, const models::Config& config);

}  // namespace headcount::datasets
