// The published templates, one function each, and finding out which one a directory uses. What the
// templates do was read from their texts (Jinja with trim_blocks and lstrip_blocks); tool calls are
// not rendered.
#include "models/tokenizers/chat_template.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string_view>

#include "schemas/error.h"
#include "schemas/sha256.h"

namespace headcount::models {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

/// What a template gets to see.
struct Chat {
  std::vector<ChatMessage> messages;
  bool add_generation_prompt = false;
  std::string bos, eos;

  bool begins_with_system() const { return !messages.empty() && messages[0].role == "system"; }
};

/// Python's str.strip(), which the templates' trim is.
std::string strip(std::string_view text) {
  static constexpr std::string_view kSpaces[] = {
      "\t",           "\n",           "\v",           "\f",           "\r",
      "\x1c",         "\x1d",         "\x1e",         "\x1f",         " ",
      "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
      "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
      "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
      "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};
  const auto cut = [&](bool front) {
    for (const std::string_view space : kSpaces) {
      if (front ? text.starts_with(space) : text.ends_with(space)) {
        front ? text.remove_prefix(space.size()) : text.remove_suffix(space.size());
        return true;
      }
    }
    return false;
  };
  while (cut(true)) {
  }
  while (cut(false)) {
  }
  return std::string(text);
}

[[noreturn]] void refuse(const std::string& why) { throw Error("the chat template says: " + why); }

void need_a_message(const Chat& chat) {
  if (chat.messages.empty()) refuse("there is no message");
}

void need_alternating(const std::vector<ChatMessage>& messages) {
  for (size_t i = 0; i < messages.size(); ++i) {
    if ((messages[i].role == "user") != (i % 2 == 0))
      refuse("Conversation roles must alternate user/assistant/user/assistant/...");
  }
}

// ChatML: <|im_start|>role ... <|im_end|>

std::string im(const ChatMessage& message) {
  return "<|im_start|>" + message.role + "\n" + message.content + "<|im_end|>\n";
}

std::string chatml(const Chat& chat) {
  std::string text;
  for (const ChatMessage& message : chat.messages) text += im(message);
  return text + (chat.add_generation_prompt ? "<|im_start|>assistant\n" : "");
}

/// ChatML with a system message where the conversation has none; other roles are passed over.
std::string chatml_with_system(Chat chat, const std::string& system) {
  need_a_message(chat);
  if (!chat.begins_with_system())
    chat.messages.insert(chat.messages.begin(), {.role = "system", .content = system});
  std::erase_if(chat.messages, [](const ChatMessage& message) {
    return message.role != "system" && message.role != "user" && message.role != "assistant";
  });
  return chatml(chat);
}

std::string dream(const Chat& chat) {
  return chatml_with_system(chat, "You are a helpful assistant.");
}

std::string qwen2(const Chat& chat) {
  return chatml_with_system(chat,
                            "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.");
}

// Llama 3: <|start_header_id|>role<|end_header_id|> ... <|eot_id|>

std::string header(const std::string& role) {
  return "<|start_header_id|>" + role + "<|end_header_id|>\n\n";
}

/// Ends with the assistant's header whether asked for or not.
std::string llama3(const Chat& chat) {
  std::string text = chat.messages.empty() ? "" : chat.bos;
  for (const ChatMessage& message : chat.messages)
    text += header(message.role) + strip(message.content) + "<|eot_id|>";
  return text + header("assistant");
}

/// Always a system message, which names two dates; the second is the template's own default.
std::string llama3_1(const Chat& chat) {
  need_a_message(chat);
  const size_t first = chat.begins_with_system() ? 1 : 0;
  std::string text = chat.bos + header("system") +
                     "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n" +
                     (first == 1 ? strip(chat.messages[0].content) : "") + "<|eot_id|>";
  for (size_t i = first; i < chat.messages.size(); ++i) {
    const std::string& role = chat.messages[i].role;
    const bool tool = role == "tool" || role == "ipython";
    text += tool ? header("ipython") + json(chat.messages[i].content)
                                           .dump(-1, ' ', false, json::error_handler_t::replace)
                 : header(role) + strip(chat.messages[i].content);
    text += "<|eot_id|>";
  }
  return text + (chat.add_generation_prompt ? header("assistant") : "");
}

// [INST] ... [/INST]

std::string llama2(const Chat& chat) {
  need_a_message(chat);
  std::vector<ChatMessage> messages = chat.messages;
  if (chat.begins_with_system()) {
    messages.erase(messages.begin());
    if (!messages.empty())
      messages[0].content =
          "<<SYS>>\n" + chat.messages[0].content + "\n<</SYS>>\n\n" + messages[0].content;
  }
  need_alternating(messages);
  std::string text;
  for (const auto& [role, content] : messages) {
    if (role == "user") text += chat.bos + "[INST] " + strip(content) + " [/INST]";
    if (role == "system") text += "<<SYS>>\n" + strip(content) + "\n<</SYS>>\n\n";
    if (role == "assistant") text += " " + strip(content) + " " + chat.eos;
  }
  return text;
}

std::string mistral(const Chat& chat) {
  need_alternating(chat.messages);
  std::string text = chat.bos;
  for (const auto& [role, content] : chat.messages) {
    if (role != "user" && role != "assistant")
      refuse("Only user and assistant roles are supported!");
    text += role == "user" ? "[INST] " + content + " [/INST]" : content + chat.eos;
  }
  return text;
}

/// Neighbours of one role are one message; all system messages go into the last user message.
std::string mistral_v3(const Chat& chat) {
  std::string system;
  std::vector<ChatMessage> messages;
  bool has_system = false;
  for (const ChatMessage& message : chat.messages) {
    if (message.role == "system") {
      system += (has_system ? "\n\n" : "") + message.content;
      has_system = true;
    } else if (!messages.empty() && messages.back().role == message.role) {
      messages.back().content += "\n\n" + message.content;
    } else {
      messages.push_back(message);
    }
  }
  size_t last_user = messages.size();
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role != "user" && role != "assistant")
      refuse("Only user, assistant and tool roles are supported, got " + role + ".");
    if (role == "user") last_user = i;
  }
  if (!messages.empty() && messages[0].role != "user")
    refuse("Conversation must start with a user message, got " + messages[0].role + ".");
  std::string text = chat.bos;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& content = messages[i].content;
    if (messages[i].role == "user") {
      const bool takes_system = i == last_user && !system.empty();
      text += "[INST]" + (takes_system ? system + "\n\n" : "") + content + "[/INST]";
    } else {
      if (content.empty()) refuse("Assistant message must have a string in content.");
      text += content + chat.eos;
    }
  }
  return text;
}

// <|role|>

std::string tinyllama(const Chat& chat) {
  std::string text;
  for (const auto& [role, content] : chat.messages) {
    if (role == "user" || role == "system" || role == "assistant")
      text += "<|" + role + "|>\n" + content + chat.eos + "\n";
  }
  const bool asks = chat.add_generation_prompt && !chat.messages.empty();
  return text + (asks ? "<|assistant|>\n" : "");
}

/// A template: its function, and the SHA-256 of the text it was published as.
struct Template {
  const char* name;
  const char* sha256;
  std::string (*render)(const Chat& chat);
};
constexpr Template kTemplates[] = {
    {"llada", "b48c47f6443892716176eb200bf4ef108f64e06ca26ed0fa8ebc0a4b3992fcb2", llama3},
    {"dream", "44d5f08f3f72b837eaad09f13a54c1f9f4eb58d75240334548b7fd52a5437fa5", dream},
    {"qwen2", "cd8e9439f0570856fd70470bf8889ebd8b5d1107207f67a5efb46e342330527f", qwen2},
    {"chatml", "fcf7a096fe99a48fd9ad2b250bf9237e96e8f48bffec1c7ea4d3f225176cd40e", chatml},
    {"llama2", "be7f8f15473ed3f98fd513d422daef97d1b101e6d3aeac3904e3a15f7807c07b", llama2},
    {"llama3", "b48c47f6443892716176eb200bf4ef108f64e06ca26ed0fa8ebc0a4b3992fcb2", llama3},
    {"llama3_1", "e10ca381b1ccc5cf9db52e371f3b6651576caee0a630b452e2816b2d404d4b65", llama3_1},
    {"mistral", "26a59556925c987317ce5291811ba3b7f32ec4c647c400c6cc7e3a9993007ba7", mistral},
    {"mistral_v3", "590181813f31bbd16a23684bc8ca199b8cc0f06a6fef4f01fdf2d6c2b435bb35", mistral_v3},
    {"tinyllama", "66291cf0045c2425a3a667cf3cbb7af2b11f09e025c02f97245323ab79119362", tinyllama}};

std::string names_text() {
  std::string text;
  for (const std::string& name : chat_template_names()) text += (text.empty() ? "" : ", ") + name;
  return text;
}

const Template& template_named(const std::string& name) {
  for (const Template& known : kTemplates) {
    if (name == known.name) return known;
  }
  throw Error("there is no chat template \"" + name + "\"; there are: " + names_text());
}

std::string read_whole(const fs::path& path) {
  constexpr uintmax_t kMostBytes = 16u << 20;
  std::error_code error;
  if (fs::file_size(path, error) > kMostBytes || error)
    throw Error("cannot read " + path.string() + ", or it is larger than 16 MiB");
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) throw Error("cannot read " + path.string());
  return text.str();
}

json read_tokenizer_config(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return json::object();
  const auto shallow = [&](int depth, json::parse_event_t, json&) {
    if (depth > 16) throw Error(path.string() + " is nested too deeply");
    return true;
  };
  json config;
  try {
    config = json::parse(read_whole(path), shallow);
  } catch (const json::exception&) {
  }
  if (!config.is_object()) throw Error(path.string() + " is not a JSON object");
  return config;
}

/// A token's text: a string, or {"content": string}; empty for null.
std::string token_text(const json& config, const char* key) {
  if (!config.contains(key)) return "";
  const json& token = config[key];
  if (token.is_string()) return token.get<std::string>();
  if (token.is_object() && token.contains("content") && token["content"].is_string())
    return token["content"].get<std::string>();
  return "";
}

/// The template's text; empty where the directory has none.
std::string template_text(const fs::path& directory, const json& config) {
  std::error_code error;
  const fs::path beside = directory / "chat_template.jinja";
  if (fs::exists(beside, error)) return read_whole(beside);
  if (!config.contains("chat_template")) return "";
  const json& stored = config["chat_template"];
  if (stored.is_string()) return stored.get<std::string>();
  if (!stored.is_array()) return "";
  for (const json& entry : stored) {
    if (entry.is_object() && entry.value("name", json()) == "default" &&
        entry.contains("template") && entry["template"].is_string())
      return entry["template"].get<std::string>();
  }
  return "";
}

}  // namespace

const std::vector<std::string>& chat_template_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Template& known : kTemplates) all.push_back(known.name);
    return all;
  }();
  return names;
}

std::string render_chat(const std::string& name, const std::vector<ChatMessage>& messages,
                        bool add_generation_prompt, const std::string& bos,
                        const std::string& eos) {
  return template_named(name).render({.messages = messages,
                                      .add_generation_prompt = add_generation_prompt,
                                      .bos = bos,
                                      .eos = eos});
}

ChatFormat chat_format(const std::string& directory, const std::string& name) {
  const json config = read_tokenizer_config(fs::path(directory) / "tokenizer_config.json");
  ChatFormat format{
      .name = name, .bos = token_text(config, "bos_token"), .eos = token_text(config, "eos_token")};
  if (!name.empty()) {
    template_named(name);
    return format;
  }
  const std::string text = template_text(directory, config);
  if (text.empty()) throw Error(directory + " has no chat template; name one of " + names_text());
  Sha256 sha;
  sha.update(text);
  const std::string hash = to_hex(sha.finish());
  for (const Template& known : kTemplates) {
    if (hash != known.sha256) continue;
    format.name = known.name;
    // LLaDA and Llama 3 share one text; the begin-of-text token tells them apart.
    if (format.name == "llada" && format.bos == "<|begin_of_text|>") format.name = "llama3";
    return format;
  }
  throw Error("the chat template of " + directory +
              " is none of those this program knows and is not interpreted; name one of " +
              names_text());
}

}  // namespace headcount::models
