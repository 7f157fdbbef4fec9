// SPDX-License-Identifier: BSD-3-Clause
// An exported policy in C++, with the safeguards of trudi_rsl.deploy.Policy against NaN, infinity and actions outside
// the bounds. Needs only ONNX Runtime.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <locale>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <onnxruntime_cxx_api.h>

namespace trudi_rsl {

// Too many unusable observations in a row. Bring the robot to a safe state, then call Policy::reset.
struct PolicyStopped : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Policy {
 public:
  // Loads `policy.onnx`. At an observation or action with NaN or infinity the last action is held, for at most
  // `max_held` steps in a row.
  explicit Policy(const std::string& file, int max_held = 5) : session_(open(file)), max_held_(max_held) {
    const auto inputs = session_.GetInputNames(), outputs = session_.GetOutputNames();
    if (inputs != std::vector<std::string>{"obs"} || outputs != std::vector<std::string>{"actions"}) {
      throw std::runtime_error(file + " does not map 'obs' to 'actions'.");
    }
    num_obs_ = width(session_.GetInputTypeInfo(0));
    num_actions_ = width(session_.GetOutputTypeInfo(0));
    action_low_ = numbers("action_low");
    action_high_ = numbers("action_high");
    for (const auto& bounds : {action_low_, action_high_}) {
      if (!bounds.empty() && bounds.size() != num_actions_) {
        throw std::runtime_error(file + " has action bounds of another size than its actions.");
      }
    }
    const auto period = numbers("control_period_s");
    if (!period.empty()) control_period_s_ = period.front();
  }

  std::size_t num_obs() const { return num_obs_; }
  std::size_t num_actions() const { return num_actions_; }
  // Seconds between actions in training, if the file holds them.
  std::optional<float> control_period_s() const { return control_period_s_; }
  // Steps with a clipped action, and steps at which the last action was held, in total.
  int num_clipped() const { return num_clipped_; }
  int num_held() const { return num_held_; }

  // Starts an episode, also after a stop.
  void reset() {
    held_in_a_row_ = 0;
    last_.clear();
  }

  // Returns the action [num_actions] in the simulator's units for the complete observation [num_obs]: scaled, with
  // histories, in the order of the file's metadata.
  std::vector<float> operator()(std::vector<float> obs) {
    if (obs.size() != num_obs_) {
      throw std::invalid_argument("The observation has " + std::to_string(obs.size()) + " numbers instead of " +
                                  std::to_string(num_obs_) + ".");
    }
    if (!std::all_of(obs.begin(), obs.end(), [](float value) { return std::isfinite(value); })) return hold();
    const std::array<int64_t, 2> shape{1, static_cast<int64_t>(num_obs_)};
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const auto input = Ort::Value::CreateTensor<float>(memory, obs.data(), obs.size(), shape.data(), shape.size());
    const char* input_name = "obs";
    const char* output_name = "actions";
    const auto output = session_.Run(Ort::RunOptions{nullptr}, &input_name, &input, 1, &output_name, 1);
    const float* actions = output.front().GetTensorData<float>();
    if (!std::all_of(actions, actions + num_actions_, [](float value) { return std::isfinite(value); })) return hold();
    held_in_a_row_ = 0;
    last_.assign(actions, actions + num_actions_);
    clip(last_);
    return last_;
  }

 private:
  static Ort::Session open(const std::string& file) {
    static Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "trudi_rsl");
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(1);  // more slow down a network of this size
    return Ort::Session(env, file.c_str(), options);
  }

  static std::size_t width(const Ort::TypeInfo& info) {
    const auto shape = info.GetTensorTypeAndShapeInfo().GetShape();
    if (shape.size() != 2 || shape[0] != 1) throw std::runtime_error("The policy is not for one observation at a time.");
    return static_cast<std::size_t>(shape[1]);
  }

  // Returns the numbers of a metadata entry, a number or a list of numbers; none if there is no such entry.
  std::vector<float> numbers(const char* key) {
    Ort::AllocatorWithDefaultOptions allocator;
    const auto text = session_.GetModelMetadata().LookupCustomMetadataMapAllocated(key, allocator);
    std::string entry = text ? text.get() : "";
    for (char& mark : entry) {
      if (mark == '[' || mark == ']' || mark == ',') mark = ' ';
    }
    std::istringstream stream(entry);
    stream.imbue(std::locale::classic());  // the global locale may use a decimal comma
    return {std::istream_iterator<float>(stream), std::istream_iterator<float>()};
  }

  std::vector<float> hold() {
    ++held_in_a_row_;
    if (last_.empty() || held_in_a_row_ > max_held_) {
      throw PolicyStopped("Unusable observation for " + std::to_string(held_in_a_row_) + " step(s) in a row.");
    }
    ++num_held_;
    return last_;
  }

  void clip(std::vector<float>& action) {
    bool clipped = false;
    for (std::size_t i = 0; i < action_low_.size() && i < action_high_.size(); ++i) {
      const float bounded = std::clamp(action[i], action_low_[i], action_high_[i]);
      // rounding of the scaled squashed action stays below this
      clipped |= std::abs(bounded - action[i]) > 1e-5F * (action_high_[i] - action_low_[i]);
      action[i] = bounded;
    }
    num_clipped_ += clipped;
  }

  Ort::Session session_;
  std::size_t num_obs_ = 0, num_actions_ = 0;
  std::vector<float> action_low_, action_high_, last_;
  std::optional<float> control_period_s_;
  int max_held_, held_in_a_row_ = 0, num_held_ = 0, num_clipped_ = 0;
};

}  // namespace trudi_rsl
