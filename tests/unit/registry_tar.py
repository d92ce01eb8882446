"""Writes tar archives for registry_tar.c, as Python's tarfile and GNU tar make them, good ones and bad ones.

    python3 registry_tar.py DIRECTORY

DIRECTORY/NAME.tar comes with DIRECTORY/NAME.expected: "name offset bytes" of each file, or "at OFFSET TEXT" where the
archive must be refused with that byte offset and that text in the detail.
"""

import io
import pathlib
import subprocess
import sys
import tarfile

BLOCK = 512
FILES = {"config.json": b'{"a": 1}', "empty": b"", "whole": b"x" * 512, "model.safetensors": bytes(range(256)) * 9}


def member(name, data=b"", **about):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in about.items():
        setattr(info, key, value)
    return info, data


def archive(members, form=tarfile.PAX_FORMAT, **options):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, **options) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def files(form=tarfile.PAX_FORMAT, prefix="", **about):
    return archive([member(prefix + name, data, **about) for name, data in FILES.items()], form)


def with_sum(block):
    """A header block with its checksum made right."""
    total = sum(block[:148]) + 8 * 32 + sum(block[156:])
    return block[:148] + b"%06o\0 " % total + block[156:]


def changed(data, at, new, header=0):
    """Other bytes in the header at `header`, with the checksum made right."""
    block = bytearray(data[header : header + BLOCK])
    block[at : at + len(new)] = new
    return data[:header] + with_sum(bytes(block)) + data[header + BLOCK :]


def pax(records, type_=b"x"):
    """A pax header of those bytes, and a file behind it."""
    info, _ = member("x")
    block = info.tobuf(tarfile.USTAR_FORMAT)[:BLOCK]
    block = with_sum(block[:124] + b"%011o\0" % len(records) + block[136:156] + type_ + block[157:])
    return block + records + b"\0" * (-len(records) % BLOCK) + archive([member("a", b"1")], tarfile.USTAR_FORMAT)


def offsets(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return "".join(f"{one.name.removeprefix('./')} {one.offset_data} {one.size}\n" for one in tar if one.isreg())


def good():
    yield "pax", files()
    yield "pax_fraction_of_a_second", files(mtime=1.5)
    yield "ustar", files(tarfile.USTAR_FORMAT)
    yield "gnu", files(tarfile.GNU_FORMAT)
    yield "dotted", files(prefix="./")
    yield "no_files", archive([])
    for form, name in [(tarfile.PAX_FORMAT, "pax"), (tarfile.GNU_FORMAT, "gnu")]:
        yield f"long_name_{name}", archive([member("a" * 255, b"1"), member("b", b"2")], form)
        yield f"folder_itself_{name}", archive([member(".", type=tarfile.DIRTYPE), member("./a", b"1")], form)
    yield "global_pax", archive([member("a", b"1")], pax_headers={"comment": "x"})
    yield "old", changed(archive([member("a", b"1")], tarfile.USTAR_FORMAT), 257, b"\0" * 8)
    yield "old_type", changed(archive([member("a", b"1")], tarfile.USTAR_FORMAT), 156, b"\0")
    yield "contiguous", archive([member("a", b"1", type=tarfile.CONTTYPE)])
    yield "binary_size", changed(archive([member("a", b"123")], tarfile.GNU_FORMAT), 124, b"\x80" + b"\0" * 10 + b"\3")
    yield "size_with_spaces", changed(archive([member("a", b"123")], tarfile.USTAR_FORMAT), 124, b"         3 \0")
    yield "two_blocks_at_the_end", archive([member("a", b"1")])[: 4 * BLOCK]
    yield "pax_size", changed(pax(b"10 size=1\n"), 124, b"00000000000\0", 2 * BLOCK)
    yield "xattr", pax(b"25 SCHILY.xattr.user.a=1\n")


def by_gnu_tar(folder):
    """What `tar` itself makes of a folder, in its formats."""
    source = folder / "source"
    source.mkdir()
    for name, data in FILES.items():
        (source / name).write_bytes(data)
    for form in ("gnu", "posix", "ustar", "v7", "oldgnu"):
        yield f"tar_{form}", subprocess.run(["tar", f"--format={form}", "-C", source, "-c", "."], check=True,
                                            stdout=subprocess.PIPE).stdout


def refused_names():
    for name, path, text in [
        ("absolute", "/a", "the absolute path"), ("up", "../a", 'found ".."'), ("up_inside", "a/../b", 'found ".."'),
        ("up_behind", "./..", 'found ".."'), ("below", "a/b", "in a sub-directory"),
        ("below_dotted", "./a/b", "in a sub-directory"), ("dot", "./.", "expected a file's name"),
        ("slash_behind", "a/", "in a sub-directory"), ("control", "a\nb", "printable ASCII"),
        ("umlaut", "\u00e4", "printable ASCII"),
    ]:  # fmt: skip
        data = archive([member("ok", b"1"), member(path, b"2")], tarfile.GNU_FORMAT)
        yield f"name_{name}", data, 2 * BLOCK, text
    yield "name_empty", changed(archive([member("a")]), 0, b"\0"), 0, "expected a file's name"
    # the header's own name is harmless, what goes before is not
    yield "pax_up", archive([member("../" + "a" * 120, b"1")]), 2 * BLOCK, 'found ".."'
    yield "gnu_up", archive([member("../" + "a" * 120, b"1")], tarfile.GNU_FORMAT), 2 * BLOCK, 'found ".."'
    yield "prefix_up", archive([member("../" + "a" * 100, b"1")], tarfile.USTAR_FORMAT), 0, 'found ".."'
    yield "long_pax", archive([member("a" * 256)]), 2 * BLOCK, "at most 255 bytes"
    yield "longer_gnu", archive([member("a" * 2000)], tarfile.GNU_FORMAT), BLOCK, "at most 1023 bytes"
    twice = [member("a", b"1"), member("b"), member("./a", b"2")]
    yield "twice", archive(twice, tarfile.USTAR_FORMAT), 3 * BLOCK, '"./a" is there twice'
    many = [member(f"f{i}") for i in range(1025)]
    yield "too_many", archive(many, tarfile.USTAR_FORMAT), 1024 * BLOCK, "at most 1024 files"


def refused_types():
    for type_, text in [
        (tarfile.LNKTYPE, "a hard link"), (tarfile.SYMTYPE, "a symbolic link"), (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"), (tarfile.FIFOTYPE, "a fifo"), (b"V", "a volume's label"),
        (b"M", "a part of a file"), (tarfile.GNUTYPE_SPARSE, "a sparse file"), (b"\xff", "unknown type"),
    ]:  # fmt: skip
        data = archive([member("a", type=type_, linkname="b")], tarfile.USTAR_FORMAT)
        yield f"type_{type_.hex()}", data, 156, text
    long_link = archive([member("a", type=tarfile.SYMTYPE, linkname="b" * 200)], tarfile.GNU_FORMAT)
    yield "long_link", long_link, 156, "a link"
    folder = archive([member("a", type=tarfile.DIRTYPE)], tarfile.USTAR_FORMAT)
    yield "folder", folder, 0, 'the sub-directory "a'


def refused_numbers():
    one = archive([member("a", b"123")], tarfile.USTAR_FORMAT)
    yield "sum_wrong", one[:148] + b"0000001\0" + one[156:], 148, "the header's checksum is 1"
    yield "sum_no_number", one[:148] + b"x" * 8 + one[156:], 148, "checksum in octal"
    yield "sum_of_another_byte", b"b" + one[1:], 148, "its bytes sum to"
    yield "size_no_number", changed(one, 124, b"x"), 124, "size in octal"
    yield "size_empty", changed(one, 124, b"\0"), 124, "size in octal"
    yield "size_negative", changed(one, 124, b"\xff" * 12), 124, "size in octal"
    yield "size_huge", changed(one, 124, b"\x80" + b"\xff" * 11), 124, "size in octal"
    yield "size_beyond", changed(one, 124, b"77777777777\0"), len(one), "expected 8589934591 bytes"
    yield "size_2_to_62", changed(one, 124, b"\x80\0\0\0\x40" + b"\0" * 7), len(one), "expected 4611686018427387904 bytes"
    yield "pax_size_beyond", pax(b"28 size=999999999999999999\n" + b""), BLOCK, "pax record"
    yield "pax_size_far", pax(b"27 size=999999999999999999\n"), len(pax(b"")) + BLOCK, "expected 999999999999999999"
    yield "pax_size_no_number", pax(b"10 size=x\n"), BLOCK, "decimal digits"


def refused_pax():
    for name, records in [
        ("no_length", b"path=a\n"), ("no_space", b"9path=aaaa\n"), ("too_long", b"99 path=a\n"),
        ("no_line_end", b"9 path=a "), ("no_equals", b"9 pathaa\n"), ("short", b"3 \n"), ("zero", b"0 path=a\n"),
        ("huge", b"99999999999999999999 path=a\n"), ("zeros", b"\0" * 9), ("digits", b"999999999"),
    ]:  # fmt: skip
        yield f"pax_{name}", pax(records), BLOCK, "expected a pax record"
    yield "pax_second", pax(b"9 aaaa=b\nx"), BLOCK + 9, "expected a pax record"
    yield "pax_nul", pax(b"11 path=a\0\n"), BLOCK, "without NULs"
    yield "pax_sparse", pax(b"22 GNU.sparse.major=1\n"), BLOCK, "a sparse one"
    yield "pax_global_path", pax(b"10 path=a\n", b"g"), BLOCK, "global"
    yield "pax_alone", pax(b"10 path=a\n")[: 2 * BLOCK] + b"\0" * 2 * BLOCK, 2 * BLOCK, "no file behind it"
    huge = changed(pax(b"10 path=a\n"), 124, b"00010000000\0")
    yield "pax_bytes", huge, 124, "at most 1048576 bytes"


def refused_ends():
    one = archive([member("a", b"123")], tarfile.USTAR_FORMAT)
    end = "two blocks of zeros"
    yield "nothing", b"", 0, "found 0"
    yield "text", b"hello", 5, "found 5"
    yield "gzip", b"\x1f\x8b" + b"x" * 600, 0, "gzip's mark"
    yield "cut_in_header", one[:100], 100, "found 100"
    yield "cut_behind_header", one[:BLOCK], BLOCK, "expected 3 bytes"
    yield "cut_in_data", one[: BLOCK + 2], BLOCK + 2, "expected 3 bytes"
    yield "cut_in_padding", one[: 2 * BLOCK - 1], 2 * BLOCK - 1, "expected 3 bytes"
    yield "cut_behind_file", one[: 2 * BLOCK], 2 * BLOCK, "the end's zeros"
    yield "cut_in_end", one[: 4 * BLOCK - 1], 4 * BLOCK - 1, end
    yield "one_zero_block", one[: 3 * BLOCK], 3 * BLOCK, end
    yield "one_zero_block_and_a_file", one[: 2 * BLOCK] + b"\0" * BLOCK + one, 2 * BLOCK, end
    yield "bytes_behind", one + b"x", 2 * BLOCK, end


def write(folder, name, data, expected):
    (folder / f"{name}.tar").write_bytes(data)
    (folder / f"{name}.expected").write_text(expected)


def main(folder):
    folder = pathlib.Path(folder)
    for name, data in [*good(), *by_gnu_tar(folder)]:
        write(folder, name, data, offsets(data))
    for cases in (refused_names, refused_types, refused_numbers, refused_pax, refused_ends):
        for name, data, at, text in cases():
            write(folder, name, data, f"at {at} {text}\n")


if __name__ == "__main__":
    main(sys.argv[1])
