// The table: a row a position, its mean surprisal over the rows with the standard error.
#include "experiments/kind.h"
#include "experiments/kinds/table_rows.h"
#include "experiments/metrics/moments.h"
#include "surprisal/surprisal.h"

namespace headcount::experiments::surprisal {

Table aggregate(const std::string& stage, std::span<const Point> points, const ResultOf& result) {
  Table table = blank_table(stage, "surprisal", points, {"position"}, {"n_missing"});
  for (size_t p = 0; p < points.size(); ++p) {
    const Point& point = points[p];
    const std::vector<Row>& rows = point.dataset->rows;
    const auto positions = get<int64_t>(point.values, "positions");
    std::vector<std::vector<double>> nats(static_cast<size_t>(positions));
    int64_t n_missing = 0;
    for (size_t first = 0; first < rows.size(); first += kBlockRows) {
      const size_t end = std::min(first + kBlockRows, rows.size());
      const auto found = result(p, static_cast<int64_t>(first) / kBlockRows);
      if (!found) n_missing += static_cast<int64_t>(end - first);
      for (size_t row = first; found && row < end; ++row) {
        const double* read =
            array(*found, "nats").data.data() + static_cast<int64_t>(row - first) * positions;
        for (int64_t i = 0; i < n_read(rows[row], positions); ++i)
          nats[static_cast<size_t>(i)].push_back(read[i]);
      }
    }
    for (int64_t i = 0; i < positions; ++i) {
      const auto& values = nats[static_cast<size_t>(i)];
      add_row(table, point, {i},
              values.empty() ? std::nullopt : std::optional(metrics::estimate(values)));
    }
    add_diagnostics(table, point, {n_missing});
    warn_missing(table, point, n_missing);
  }
  return table;
}

}  // namespace headcount::experiments::surprisal
