/*
 * words.cpp - the words of files that occur most often, in C++.
 *
 *     c++ -std=c++11 words.cpp $(pkg-config --cflags --libs vthread)
 *     ./a.out FILE...
 *
 * A virtual thread for each file reads its lines; four count the words.  A
 * file that cannot be read is an exception of its thread, which join throws.
 */
#include "vthread.hpp"

#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

enum { COUNTERS = 4, SHOWN = 5 };

struct counts {
    vthread::mutex lock;
    std::map<std::string, long> words;
};

void read_lines(const std::string &path, vthread::channel<std::string> &lines)
{
    std::ifstream file(path);
    if (!file)
        throw std::runtime_error(path + " cannot be read");
    for (std::string line; std::getline(file, line);)
        lines.send(line);
}

void count_words(vthread::channel<std::string> &lines, counts &sum)
{
    for (std::string &line : lines) {
        std::istringstream text(line);
        std::lock_guard<vthread::mutex> guard(sum.lock);
        for (std::string word; text >> word;)
            sum.words[word]++;
    }
}

void show(const counts &sum)
{
    typedef std::pair<std::string, long> entry;
    std::vector<entry> all(sum.words.begin(), sum.words.end());
    std::stable_sort(all.begin(), all.end(),
                     [](const entry &a, const entry &b) {
                         return a.second > b.second;
                     });
    for (size_t i = 0; i < all.size() && i < SHOWN; i++)
        std::cout << all[i].second << ' ' << all[i].first << '\n';
}

} // namespace

int main(int argc, char **argv)
{
    counts sum;
    int status = 0;
    vthread::channel<std::string> lines(64);
    std::vector<vthread::thread> counters, readers;
    for (int i = 0; i < COUNTERS; i++)
        counters.emplace_back([&] { count_words(lines, sum); });
    for (int i = 1; i < argc; i++)
        readers.emplace_back([&, i] { read_lines(argv[i], lines); });
    for (auto &reader : readers) {
        try {
            reader.join();
        } catch (const std::exception &e) {
            std::cerr << "words: " << e.what() << '\n';
            status = 1;
        }
    }
    lines.close();
    counters.clear(); /* joins them */
    show(sum);
    return status;
}
