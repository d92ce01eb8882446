// Numbers to and from JSON text against std::to_chars, simdjson on demand and jansson: the same text for all,
// alternating within one run, medians of many rounds. Ratios stand beside the goals they are measured by.
extern "C" {
#include "server/codec/number.h"
}
#include <jansson.h>
#if __has_include(<simdjson.h>)
#include <simdjson.h>
#define HAS_SIMDJSON 1
#endif

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr std::size_t count = 300000;
constexpr std::size_t row = 128;
constexpr int rounds = 41;

struct contender {
    std::string name;
    std::function<void()> run;
    std::vector<double> times;
};

double median(std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
    return values[values.size() / 2];
}

/// Processor time of this thread, so that what else runs on the machine counts for nobody.
double now() {
    timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

double seconds(const std::function<void()> &run) {
    double start = now();
    run();
    return now() - start;
}

/// Where the figures also go, for the page: a line each, fields separated by tabs.
std::FILE *figures = nullptr;

/// Runs the contenders in turn and prints medians; the first is ours and `peer` the one of the goal.
void compare(const char *title, std::vector<contender> contenders, const std::string &peer, double goal) {
    for (int i = 0; i < rounds; i++) {
        for (auto &each : contenders) {
            each.times.push_back(seconds(each.run));
        }
    }
    std::printf("%s\n", title);
    double ours = median(contenders[0].times);
    for (auto &each : contenders) {
        double time = median(each.times);
        double best = *std::min_element(each.times.begin(), each.times.end());
        std::printf("  %-28s %7.1f ns a number (best %.1f)", each.name.c_str(), time * 1e9 / count, best * 1e9 / count);
        if (&each != &contenders[0]) {
            std::printf("   ours / this: %.2f", ours / time);
            if (figures != nullptr) {
                std::fprintf(figures, "%s (%s)\t%.3f\t%.3f\t%s\tns\t", title, contenders[0].name.c_str(),
                             ours * 1e9 / count, time * 1e9 / count, each.name.c_str());
                std::fprintf(figures, each.name == peer ? "<= %.1f\n" : "\n", goal);
            }
        }
        if (each.name == peer) {
            std::printf("  (goal: %.2f)", goal);
        }
        std::printf("\n");
    }
}

std::vector<float> normal_values() {
    std::mt19937 random(1);
    std::normal_distribution<float> distribution;
    std::vector<float> values(count);
    std::generate(values.begin(), values.end(), [&] { return distribution(random); });
    return values;
}

std::vector<float> softmax_rows() {
    std::vector<float> values = normal_values();
    for (std::size_t start = 0; start < count; start += row) {
        std::size_t end = std::min(count, start + row);
        double sum = 0;
        for (std::size_t i = start; i < end; i++) {
            sum += std::exp(values[i]);
        }
        for (std::size_t i = start; i < end; i++) {
            values[i] = static_cast<float>(std::exp(values[i]) / sum);
        }
    }
    return values;
}

std::string to_text(const std::vector<float> &values, int digits) {
    std::string text(2 + values.size() * NUMBER_MAX_TEXT, '[');
    char *end = number_print_run_f32(&text[1], values.data(), values.size(), digits);
    *end++ = ']';
    text.resize(static_cast<std::size_t>(end - &text[0]));
    return text;
}

[[noreturn]] void fail(const char *what) {
    std::fprintf(stderr, "%s\n", what);
    std::exit(1);
}

char *print_with_to_chars(char *to, const std::vector<float> &values, int digits) {
    for (float value : values) {
        to = digits == 0 ? std::to_chars(to, to + 32, value).ptr
                         : std::to_chars(to, to + 32, value, std::chars_format::general, digits).ptr;
        *to++ = ',';
    }
    return to - 1;
}

void check_against_to_chars(const std::vector<float> &values) {
    std::string text = to_text(values, 0);
    const char *p = text.c_str() + 1;
    for (float value : values) {
        char *end;
        if (std::strtof(p, &end) != value) {
            fail("our text does not read back");
        }
        p = end + 1;
    }
}

void bench_printing(const char *name, const std::vector<float> &values) {
    check_against_to_chars(values);
    std::vector<char> ours(count * NUMBER_MAX_TEXT + 64);
    std::vector<char> theirs(count * NUMBER_MAX_TEXT + 64);
    json_t *array = json_array();
    for (float value : values) {
        json_array_append_new(array, json_real(static_cast<double>(value)));
    }
    auto dump = [&](std::size_t precision) {
        char *text = json_dumps(array, JSON_COMPACT | JSON_REAL_PRECISION(precision));
        std::free(text);
    };
    std::string title = std::string("out, ") + name + ", shortest";
    compare(title.c_str(),
            {{number_variant(), [&] { number_print_run_f32(ours.data(), values.data(), count, 0); }, {}},
             {"std::to_chars", [&] { print_with_to_chars(theirs.data(), values, 0); }, {}},
             {"jansson, 9 digits", [&] { dump(9); }, {}}},
            "std::to_chars", 0.3);
    title = std::string("out, ") + name + ", 6 digits";
    compare(title.c_str(),
            {{number_variant(), [&] { number_print_run_f32(ours.data(), values.data(), count, 6); }, {}},
             {"std::to_chars, 6 digits", [&] { print_with_to_chars(theirs.data(), values, 6); }, {}},
             {"std::to_chars, shortest", [&] { print_with_to_chars(theirs.data(), values, 0); }, {}}},
            "std::to_chars, shortest", 0.2);
    json_decref(array);
}

#ifdef HAS_SIMDJSON
void read_with_simdjson(simdjson::ondemand::parser &parser, const simdjson::padded_string &text,
                        std::vector<float> &values) {
    auto document = parser.iterate(text);
    std::size_t i = 0;
    for (auto element : document.get_array()) {
        values[i++] = static_cast<float>(element.get_double().value());
    }
}
#endif

void bench_reading(const char *name, const std::string &text) {
    std::vector<float> ours(count);
    std::vector<float> theirs(count);
    const char *end = text.data() + text.size();
    auto read = [&] {
        std::size_t read_count;
        const char *after;
        if (number_read_run_f32(text.data() + 1, end, ours.data(), count, &read_count, &after) != NUMBER_OK ||
            read_count != count) {
            fail("our reader stopped early");
        }
    };
    std::vector<contender> contenders = {{number_variant(), read, {}}};
#ifdef HAS_SIMDJSON
    simdjson::ondemand::parser parser;
    simdjson::padded_string padded(text);
    auto read_theirs = [&] { read_with_simdjson(parser, padded, theirs); };
    read();
    read_theirs();
    if (std::memcmp(ours.data(), theirs.data(), count * sizeof(float)) != 0) {
        std::printf("  (simdjson's doubles, rounded again to float, differ from ours somewhere)\n");
    }
    contenders.push_back({"simdjson on demand", read_theirs, {}});
#else
    std::printf("simdjson is not installed: skipped\n");
#endif
    contenders.push_back({"jansson", [&] { json_decref(json_loadb(text.data(), text.size(), 0, nullptr)); }, {}});
    std::string title = std::string("in, ") + name + ", " + std::to_string(text.size() / double(count)).substr(0, 5) +
                        " bytes a number";
    compare(title.c_str(), std::move(contenders), "simdjson on demand", 0.5);
}

std::string doubles_text(const std::vector<float> &values) {
    std::string text(2 + values.size() * NUMBER_MAX_TEXT, '[');
    std::vector<double> wide(values.begin(), values.end());
    char *end = number_print_run_f64(&text[1], wide.data(), wide.size(), 0);
    *end++ = ']';
    text.resize(static_cast<std::size_t>(end - &text[0]));
    return text;
}

} // namespace

/// codec_bench [FILE]: prints the figures, and writes them to FILE.
int main(int argc, char **argv) {
    if (argc > 1 && (figures = std::fopen(argv[1], "w")) == nullptr) {
        fail("cannot write the figures");
    }
#ifdef HAS_SIMDJSON
    std::printf("simdjson %d.%d.%d, %s\n", int(simdjson::SIMDJSON_VERSION_MAJOR), int(simdjson::SIMDJSON_VERSION_MINOR),
                int(simdjson::SIMDJSON_VERSION_REVISION),
                std::string(simdjson::get_active_implementation()->name()).c_str());
#endif
    std::vector<float> normal = normal_values();
    std::vector<float> softmax = softmax_rows();
    bench_printing("normal(0, 1)", normal);
    bench_printing("softmax rows of 128", softmax);
    bench_reading("normal(0, 1)", to_text(normal, 0));
    bench_reading("softmax rows of 128", to_text(softmax, 0));
    bench_reading("normal(0, 1), floats written as doubles", doubles_text(normal));
    if (figures != nullptr && std::fclose(figures) != 0) {
        fail("cannot write the figures");
    }
    return 0;
}
