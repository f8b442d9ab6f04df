// A worker's journal: whatever stands in it, what is kept can be read again, and no byte is counted
// twice.
#include <cstdlib>

#include "tests/fuzz/reader.h"
#include "worker/journal_format.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace headcount;
  const std::string_view bytes = fuzz::text(data, size);
  fuzz::expect_error_or_success(size, [&] {
    const worker::JournalContent content = worker::read_journal(bytes);
    std::string again(worker::kJournalHeader);
    for (const auto& kept : content.kept) {
      const auto payload = bytes.substr(kept.place.offset, kept.place.size);
      worker::put_result(again, worker::result_of(payload, content.format));
    }
    size_t end = 0;
    for (const auto& range : content.unreadable) {
      if (range.begin < end || range.end <= range.begin) std::abort();
      end = range.end;
    }
    if (end > bytes.size() || content.torn_at > bytes.size()) std::abort();
    const worker::JournalContent rewritten = worker::read_journal(again);
    if (rewritten.kept.size() != content.kept.size() || !rewritten.unreadable.empty()) std::abort();
  });
  return 0;
}
