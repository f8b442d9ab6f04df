// Head scores as files other programs load: head_importance.pt (torch.load: {"importance_scores":
// {layer: float32[n_heads]}, "metadata"}), .safetensors, .npy and .csv. Written by hand from the
// published formats: no LibTorch, no zlib.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/fields.h"
#include "schemas/table.h"

namespace headcount::cli {

enum class ExportFormat { kPt, kSafetensors, kNpy, kCsv };
/// "pt", "safetensors", "npy", "csv"; nullopt for any other.
std::optional<ExportFormat> export_format_of(std::string_view name);

/// The file's bytes, of the one point of a head_importance table that `where` leaves ({"ig_steps":
/// "16"}: column = value as printed). `provenance` (spec_digest, sweep, ...) joins the metadata,
/// beside objective_sign, score_semantics, the point and its diagnostics. Throws Error naming the
/// columns to choose by when several points are left, and when none is. csv alone takes any kind
/// and several points.
///   pt           {"importance_scores": {int layer: float32 tensor[n_heads]}, "metadata": {...}}:
///                a stored zip with a protocol-2 pickle
///   safetensors  "value", "se" F64 [layers, heads] (NaN where null), "layers" I64,
///                "value.mask_prob.P" and "se.mask_prob.P" per probability; metadata as texts
///   npy          float64 [layers, heads], C order: the mean over mask probabilities
///   csv          the rows as `results --format csv`
std::string export_table(const Table& table, const std::map<std::string, std::string>& where,
                         const Fields& provenance, ExportFormat format);

}  // namespace headcount::cli
