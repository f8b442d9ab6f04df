// A disk that is full, as a small file system in memory (root may mount one), and room again.
#include "worker/results.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <filesystem>
#include <fstream>

namespace headcount::worker {
namespace {

using ::testing::HasSubstr;

constexpr size_t kDiskBytes = 4 << 20;

/// Mounted for as long as it lives, where that is allowed.
class SmallDisk {
 public:
  SmallDisk() {
    std::filesystem::create_directories(path_);
    const std::string size = "size=" + std::to_string(kDiskBytes);
    mounted_ = ::mount("none", path_.c_str(), "tmpfs", 0, size.c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  const std::string& path() const { return path_; }
  void fill() const {
    std::ofstream(path_ + "/filler", std::ios::binary) << std::string(kDiskBytes, 'x');
  }
  void empty() const { std::filesystem::remove(path_ + "/filler"); }

 private:
  std::string path_ = testing::TempDir() + "results_test_disk";
  bool mounted_ = false;
};

ShardDone finished(const std::string& name) {
  ShardDone done;
  done.key = sha256(name);
  done.result = std::string(1000, name[0]);
  done.hash = sha256(done.result);
  return done;
}

TEST(Results, AreKeptInMemoryWhileTheDiskIsFullAndWrittenWhenThereIsRoom) {
  const SmallDisk disk;
  if (!disk.mounted()) GTEST_SKIP() << "mounting a small disk needs root";
  {
    Results results(disk.path() + "/results");
    results.add({finished("before")});
    disk.fill();
    // What is left of the journal's last page holds a few small ones.
    for (int i = 0; results.problem().empty() && i < 10; ++i) {
      results.add({finished("during " + std::to_string(i))});
    }
    EXPECT_THAT(results.problem(), HasSubstr("journal: No space left on device"));
    const size_t on_disk = results.journal().size();
    results.add({finished("kept"), finished("acknowledged")});
    results.remove({sha256("acknowledged"), sha256("before")});
    results.try_again();
    EXPECT_THAT(results.problem(), HasSubstr("No space left on device"));
    EXPECT_LT(results.journal().size(), on_disk + 1);

    disk.empty();
    results.try_again();
    EXPECT_EQ(results.problem(), "");
    results.add({finished("after")});
  }
  const auto again = Journal(disk.path() + "/results").all();
  std::vector<ShardKey> keys;
  for (const ShardDone& result : again) keys.push_back(result.key);
  EXPECT_THAT(keys, testing::IsSupersetOf({sha256("kept"), sha256("after")}));
  EXPECT_THAT(keys, testing::Not(testing::Contains(sha256("acknowledged"))));
}

}  // namespace
}  // namespace headcount::worker
