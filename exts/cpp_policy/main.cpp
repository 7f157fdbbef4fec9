// SPDX-License-Identifier: BSD-3-Clause
// Reads one observation per line and prints the action: run_policy policy.onnx < observations.txt
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>

#include "policy.hpp"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "Usage: run_policy policy.onnx < observations.txt\n";
    return 2;
  }
  try {
    trudi_rsl::Policy policy(argv[1]);
    for (std::string line; std::getline(std::cin, line);) {
      std::istringstream words(line);
      std::vector<float> obs;
      // strtof reads "nan", which streams do not
      for (std::string word; words >> word;) obs.push_back(std::strtof(word.c_str(), nullptr));
      const auto action = policy(std::move(obs));
      for (std::size_t i = 0; i < action.size(); ++i) std::printf("%s%.9g", i == 0 ? "" : " ", action[i]);
      std::printf("\n");
    }
    std::cerr << "held " << policy.num_held() << ", clipped " << policy.num_clipped() << "\n";
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::cerr << "Error: " << error.what() << "\n";
    return 1;
  }
}
