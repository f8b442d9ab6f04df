// The ten templates against conversations rendered by two Jinja engines (../shared), and the
// refusals.
#include "models/tokenizers/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "schemas/error.h"

namespace headcount::models {
namespace {

using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

std::string templates_folder() {
  const char* given = std::getenv("HEADCOUNT_SHARED");
  return (given != nullptr ? std::string(given) : HEADCOUNT_SOURCE_DIR "/../shared") +
         "/data/chat_templates";
}

json read(const fs::path& path) { return json::parse(std::ifstream(path)); }

std::string text_or_empty(const json& value) {
  return value.is_string() ? value.get<std::string>() : "";
}

std::vector<ChatMessage> messages_of(const json& line) {
  std::vector<ChatMessage> messages;
  for (const json& message : line["messages"])
    messages.push_back({.role = message["role"], .content = message["content"]});
  return messages;
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

/// A model directory of its own.
class ChatFolder : public testing::Test {
 protected:
  ChatFolder() { fs::create_directories(path_); }
  ~ChatFolder() override { fs::remove_all(path_); }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(path_ / name) << text;
  }
  std::string folder() const { return path_.string(); }

 private:
  fs::path path_ = fs::temp_directory_path() / ("headcount-chat-" + std::to_string(::getpid()));
};

TEST(ChatTemplate, RendersEveryPublishedConversation) {
  if (!fs::exists(templates_folder())) GTEST_SKIP() << templates_folder() << " is not there";
  const json about = read(templates_folder() + "/templates.json");
  size_t lines = 0;
  for (const std::string& name : chat_template_names()) {
    const std::string bos = text_or_empty(about[name]["bos_token"]),
                      eos = text_or_empty(about[name]["eos_token"]);
    std::ifstream in(templates_folder() + "/" + name + ".jsonl");
    for (std::string text; std::getline(in, text); ++lines) {
      const json line = json::parse(text);
      const auto render = [&] {
        return render_chat(name, messages_of(line), line["add_generation_prompt"], bos, eos);
      };
      if (line["rendered"].is_null())
        EXPECT_THAT(error_of([&] { render(); }), HasSubstr(line["error"].get<std::string>()));
      else
        EXPECT_EQ(render(), line["rendered"].get<std::string>()) << name;
    }
  }
  EXPECT_EQ(lines, 120u);
}

TEST(ChatTemplate, IsKnownByItsPublishedText) {
  if (!fs::exists(templates_folder())) GTEST_SKIP() << templates_folder() << " is not there";
  const json about = read(templates_folder() + "/templates.json");
  const fs::path folder = fs::temp_directory_path() / "headcount-chat-known";
  for (const std::string& name : chat_template_names()) {
    fs::create_directories(folder);
    std::ifstream in(templates_folder() + "/" + name + ".jinja", std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const json config = {{"chat_template", text}, {"bos_token", about[name]["bos_token"]}};
    std::ofstream(folder / "tokenizer_config.json") << config.dump();
    EXPECT_EQ(chat_format(folder.string(), "").name, name);
    fs::remove_all(folder);
  }
}

TEST(ChatTemplate, TrimsAsPythonDoes) {
  EXPECT_EQ(render_chat("llama3", {{"user", "\xc2\xa0 hi\xe3\x80\x80\n"}}, true, "<b>", ""),
            "<b><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(ChatTemplate, MistralV3JoinsNeighboursOfOneRole) {
  EXPECT_EQ(
      render_chat("mistral_v3", {{"user", "a"}, {"user", "b"}, {"system", "s"}, {"assistant", "c"}},
                  false, "<s>", "</s>"),
      "<s>[INST]s\n\na\n\nb[/INST]c</s>");
  EXPECT_THAT(error_of([] {
                render_chat("mistral_v3", {{"assistant", "a"}}, false, "", "");
              }),
              HasSubstr("must start with a user message, got assistant"));
}

TEST_F(ChatFolder, WithAnotherTemplateIsRefusedWithTheNames) {
  write("tokenizer_config.json", R"({"chat_template": "{{ messages }}"})");
  const std::string refusal = error_of([&] { chat_format(folder(), ""); });
  EXPECT_THAT(refusal, HasSubstr("none of those this program knows"));
  EXPECT_THAT(refusal, HasSubstr("llada, dream, qwen2"));
  EXPECT_THAT(error_of([&] { chat_format(folder(), "nosuch"); }), HasSubstr("\"nosuch\""));
  EXPECT_EQ(chat_format(folder(), "qwen2").name, "qwen2");
}

TEST_F(ChatFolder, MayStoreTokensAsObjectsAndTemplatesInAList) {
  const std::string published = templates_folder() + "/chatml.jinja";
  if (!fs::exists(published)) GTEST_SKIP() << published << " is not there";
  std::ifstream in(published, std::ios::binary);
  const std::string chatml{std::istreambuf_iterator<char>(in), {}};
  write("tokenizer_config.json", json{{"bos_token", {{"content", "<s>"}, {"lstrip", false}}},
                                      {"eos_token", "</s>"},
                                      {"chat_template",
                                       {{{"name", "tool_use"}, {"template", "x"}},
                                        {{"name", "default"}, {"template", chatml}}}}}
                                     .dump());
  const ChatFormat format = chat_format(folder(), "");
  EXPECT_EQ(format.name, "chatml");
  EXPECT_EQ(format.bos, "<s>");
  EXPECT_EQ(format.eos, "</s>");
}

TEST_F(ChatFolder, RefusesABrokenConfigAndNone) {
  EXPECT_THAT(error_of([&] { chat_format(folder(), ""); }), HasSubstr("has no chat template"));
  write("tokenizer_config.json", R"({"chat_template": "x)");
  EXPECT_THAT(error_of([&] { chat_format(folder(), ""); }), HasSubstr("is not a JSON object"));
  write("tokenizer_config.json", std::string(100000, '['));
  EXPECT_THAT(error_of([&] { chat_format(folder(), ""); }), HasSubstr("nested too deeply"));
}

}  // namespace
}  // namespace headcount::models
