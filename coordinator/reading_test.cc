// Sweeps whose files are slow to read, or cannot be read: nobody else waits for them.
#include <fstream>
#include <nlohmann/json.hpp>

#include "coordinator/coordinator_fixture.h"
#include "store/store.h"

namespace headcount::coordinator {
namespace {

Fields which(int64_t id) { return {{"id", std::to_string(id)}}; }

class ReadingTest : public CoordinatorTest {
 protected:
  ReadingTest() : rows(fs::path(files().root()) / "reading.jsonl") {
    std::ofstream out(rows);
    for (int i = 0; i < 40; ++i)
      out << "{\"ids\": [1, 2, " << i % 10 << "], \"labels\": [2, 3, -100]}\n";
  }
  ~ReadingTest() override { fs::remove(rows); }

  /// A sweep of the rows in that file, for runners of one tag.
  std::string of_rows(const std::string& tag) const { return of(rows, tag); }
  static std::string of(const fs::path& rows, const std::string& tag) {
    return "name = \"rows\"\nseed = 1\n[models.tiny]\npath = \"masked\"\nnumerics = \"" + tag +
           "\"\n[datasets.rows]\ntask = \"tokens\"\npath = \"" + rows.string() +
           "\"\n[[stage]]\nname = \"importance\"\nkind = \"head_importance\"\n"
           "path_mode = \"diagonal\"\nquadrature = \"right\"\nig_steps = 4\n";
  }
  std::string explained(int64_t id) { return ask("sweep.explain", which(id)).dump(); }
  void until(const std::function<bool()>& holds) {
    for (int i = 0; i < 1500 && !holds(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_TRUE(holds());
  }

  fs::path rows;
};

TEST_F(ReadingTest, ASweepWhoseFilesCannotBeReadWaitsAndGoesOnWhenTheyAreBack) {
  const int64_t id = submit(of_rows("T"));
  EXPECT_EQ(end(SIGTERM), 0);
  fs::rename(rows, rows.string() + ".away");
  start();
  Worker worker(key("node-1"));
  until([&] { return explained(id).find("waits: ") != std::string::npos; });
  EXPECT_THAT(explained(id), HasSubstr("reading.jsonl does not exist (tried again each minute)"));
  EXPECT_THAT(ask("sweep.status", which(id)).at("stages").at(0).at("reason").get<std::string>(),
              HasSubstr("waits: "));
  wait_for(submit(kSpec), {"finished"});
  EXPECT_EQ(ask("sweep.status", which(id)).at("state"), "running");
  EXPECT_THAT(message_of([&] { ask("results", which(id)); }), HasSubstr("waits: "));
  fs::rename(rows.string() + ".away", rows);
  wait_for(id, {"finished"});
}

TEST_F(ReadingTest, AWaitingSweepCanBePausedAndCancelled) {
  const int64_t id = submit(of_rows("T"));
  EXPECT_EQ(end(SIGTERM), 0);
  fs::remove(rows);
  start();
  until([&] { return explained(id).find("waits: ") != std::string::npos; });
  EXPECT_EQ(ask("sweep.pause", which(id)).at("state"), "paused");
  EXPECT_EQ(ask("sweep.resume", which(id)).at("state"), "running");
  EXPECT_EQ(ask("sweep.cancel", which(id)).at("state"), "cancelled");
  EXPECT_THAT(explained(id), Not(HasSubstr("waits: ")));
}

/// A worker of one runner that says of what it holds only that it runs.
class Busy {
 public:
  explicit Busy(const transport::KeyFile& file)
      : file_(file), client_(file, {.reconnect_ms = 50}) {}

  void take_one() {
    speak([this] { return grant_.has_value(); });
    ASSERT_TRUE(grant_);
  }
  /// Says that it runs, for about so long; whether it was told to stop.
  bool is_revoked_within(int64_t ms) {
    client_ = transport::Client(file_, {.reconnect_ms = 50});
    const auto end = Clock::now() + std::chrono::milliseconds(ms);
    speak([&] { return revoked_ || Clock::now() > end; });
    return revoked_;
  }
  /// Sends its result until it is acknowledged.
  bool finish() {
    const std::string bytes = encode(computed(decode_shard(grant_->shard)));
    done_ =
        ShardDone{grant_->key, grant_->attempt, grant_->tag, "cpu", sha256(bytes), 0.001, bytes};
    speak([this] { return acknowledged_ || revoked_; });
    return acknowledged_;
  }
  bool was_revoked() const { return revoked_; }
  ShardKey held() const { return grant_->key; }

 private:
  void speak(const std::function<bool()>& enough) {
    uint64_t greeted = 0;
    for (const auto until = Clock::now() + std::chrono::seconds(30);
         !enough() && Clock::now() < until;) {
      std::vector<Held> held;
      if (grant_)
        held.push_back(
            {grant_->key, grant_->attempt, done_ ? HeldState::kDone : HeldState::kRunning, 0.5});
      const std::vector<RunnerInfo> runners = {{"cpu", "T"}};
      const auto link = client_.link();
      if (link.connected && link.n_connected != greeted) {
        if (client_.send({Hello{kVersion, 1, "host", runners, held}})) greeted = link.n_connected;
      } else if (link.connected) {
        std::vector<Message> beat = {Heartbeat{1, runners, held, false, ""}};
        if (done_) beat.push_back(*done_);
        client_.send(beat);
      }
      client_.wait(100);
      while (auto messages = client_.receive()) {
        for (auto& message : *messages) {
          if (std::holds_alternative<Reintroduce>(message)) greeted = 0;
          if (std::holds_alternative<Ack>(message)) acknowledged_ = true;
          if (const auto* revoke = std::get_if<Revoke>(&message))
            revoked_ = revoked_ || (grant_ && revoke->key == grant_->key);
          if (const auto* grant = std::get_if<Grant>(&message); grant != nullptr && !grant_)
            grant_ = *grant;
        }
      }
    }
  }

  transport::KeyFile file_;
  transport::Client client_;
  std::optional<Grant> grant_;
  std::optional<Message> done_;
  bool revoked_ = false, acknowledged_ = false;
};

TEST_F(ReadingTest, WhatASweepHasLentStandsUntilItIsReadAgain) {
  const int64_t id = submit(of_rows("T"));
  Busy worker(key("node-1"));
  worker.take_one();
  end(SIGKILL);
  fs::rename(rows, rows.string() + ".away");
  start();
  until([&] { return explained(id).find("waits: ") != std::string::npos; });
  EXPECT_FALSE(worker.is_revoked_within(2000));
  fs::rename(rows.string() + ".away", rows);
  until([&] { return explained(id).find("waits: ") == std::string::npos; });
  EXPECT_TRUE(worker.finish());
  const auto attempts = store::Store::open_read_only(state).attempts(worker.held());
  ASSERT_EQ(attempts.size(), 1u);
  EXPECT_EQ(attempts[0].outcome, "done");
}

TEST_F(ReadingTest, WhatAnUnreadSweepHasLentIsNotTakenByAnotherOfItsShardsUnderAnotherTag) {
  const int64_t away = submit(of_rows("T"));
  Busy worker(key("node-1"));
  worker.take_one();
  const fs::path copy = fs::path(files().root()) / "copy.jsonl";
  fs::copy_file(rows, copy, fs::copy_options::overwrite_existing);
  const int64_t other = submit(of(copy, "U"));
  end(SIGKILL);
  fs::rename(rows, rows.string() + ".away");
  start();
  until([&] { return explained(away).find("waits: ") != std::string::npos; });
  {
    Worker able(key("node-2"), {}, kVersion, 0, "U");
    wait_for(other, {"finished"});
  }
  EXPECT_FALSE(worker.is_revoked_within(1000));
  fs::rename(rows.string() + ".away", rows);
  until([&] { return explained(away).find("waits: ") == std::string::npos; });
  EXPECT_TRUE(worker.finish());
  fs::remove(copy);
}

TEST_F(ReadingTest, AResultOfASweepThatIsOverIsNotKeptByItsWorkerForEver) {
  const int64_t id = submit(of_rows("T"));
  Busy worker(key("node-1"));
  worker.take_one();
  end(SIGKILL);
  std::ofstream(rows, std::ios::app) << "{\"ids\": [5, 6, 7], \"labels\": [2, 3, -100]}\n";
  start();
  wait_for(id, {"stopped"});
  EXPECT_FALSE(worker.finish());
  EXPECT_TRUE(worker.was_revoked());
}

/// A llama2.c model of so many megabytes of zeros that takes no room on the disk.
void write_large_model(const fs::path& folder, int32_t d_model, int32_t vocab_size) {
  fs::create_directories(folder);
  const int32_t header[] = {d_model, 4, 1, 1, 1, vocab_size, 2};
  std::ofstream(folder / "model.bin", std::ios::binary)
      .write(reinterpret_cast<const char*>(header), sizeof header);
  const uint64_t d = static_cast<uint64_t>(d_model);
  const uint64_t n =
      static_cast<uint64_t>(vocab_size) * d + 2 * d + 4 * d * d + 3 * 4 * d + d + 2 * d;
  fs::resize_file(folder / "model.bin", sizeof header + 4 * n);
}

TEST_F(ReadingTest, FinishedTablesAreShownWhileALargeModelIsRead) {
  const int64_t finished = submit(kSpec);
  {
    Worker worker(key("node-1"));
    wait_for(finished, {"finished"});
  }
  const fs::path large = fs::path(files().root()) / "large";
  write_large_model(large, 4096, 2'000'000);  // 33 GB: minutes
  std::string spec = kSpec;
  spec.replace(spec.find("path = \"masked\""), 15, "path = \"large\"");
  transport::Client client(transport::read_key_file(transport::admin_key_path(state)),
                           {.reconnect_ms = 50});
  while (!client.link().connected) client.wait(50);
  ASSERT_TRUE(client.send(
      {Request{1,
               "sweep.submit",
               {{"text", spec}, {"file", std::string("big.toml")}, {"root", files().root()}}}}));
  const auto reading = [&] { return ask("coordinator.info").at("reading").dump(); };
  until([&] { return reading().find(" of 33.0 GB") != std::string::npos; });
  EXPECT_EQ(ask("results", which(finished)).at("stages").size(), 2u);
  {
    Worker worker(key("node-2"));
    std::string other = kSpec;
    other.replace(other.find("seed = 1"), 8, "seed = 2");
    wait_for(submit(other), {"finished"});
  }
  EXPECT_THAT(reading(), HasSubstr(" of 33.0 GB"));
  EXPECT_EQ(end(SIGTERM), 0);  // and it stops without waiting for that
  fs::remove_all(large);
}

TEST_F(ReadingTest, ASweepIsBoundToGpusThoughACpuIsThereToo) {
  Worker cpu(key("node-1"), {}, kVersion, 0, "T");
  Worker gpu(key("node-2"), {}, kVersion, 24'000'000'000, "cuda-x");
  until([&] { return ask("coordinator.info").at("workers") == 2; });
  std::string spec = kSpec;
  spec.replace(spec.find("name = \"two-stages\""), 19, "name = \"gpus\"");
  const Json status = wait_for(submit(spec), {"finished"});
  EXPECT_EQ(status.at("models").at(0).at("tag"), "cuda-x");
  EXPECT_EQ(cpu.n_granted, 0);
}

TEST_F(ReadingTest, ASweepWhoseResultsAreOnRecordWaitsForNoWorker) {
  const int64_t first = submit(kSpec);
  {
    Worker worker(key("node-1"));
    wait_for(first, {"finished"});
  }
  gone("node-1");
  until([&] { return ask("coordinator.info").at("workers") == 0; });
  const int64_t second = submit(kSpec);
  wait_for(second, {"finished"});
  EXPECT_EQ(ask("results", which(second)), ask("results", which(first)));
  std::string other = kSpec;
  other.replace(other.find("seed = 1"), 8, "seed = 2");
  EXPECT_THAT(explained(submit(other)), HasSubstr("no worker with a runner is connected"));
}

TEST_F(ReadingTest, ExplainNamesConnectedWorkersThatMayNotHelp) {
  Worker worker(key("node-1"));
  until([&] { return ask("coordinator.info").at("workers") == 1; });
  const int64_t id = submit(of_rows("U"));
  until([&] { return explained(id).find("may not help") != std::string::npos; });
  EXPECT_THAT(explained(id),
              HasSubstr("worker node-1 may not help: it computes as T, and the sweep "
                        "is bound to U"));
}

}  // namespace
}  // namespace headcount::coordinator
