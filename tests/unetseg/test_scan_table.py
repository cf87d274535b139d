import pickle

import pytest

from unetseg.errors import UsageError
from unetseg.scan_table import read_scan_table


@pytest.fixture
def write(tmp_path):
    def write_table(text, encoding="utf-8", name="table.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write_table


@pytest.fixture
def table(write):
    return lambda text: read_scan_table(write(text))


def test_groups_and_splits_are_found_by_id(table):
    found = table("scan,group,split\np1/a,one,train\np1/b,two,test\n")
    assert (found.group("p1/a"), found.split("p1/a")) == ("one", "train")
    assert (found.group("p1/b"), found.split("p1/b")) == ("two", "test")
    assert (found.group("p1/c"), found.split("p1/c")) == (None, None)


@pytest.mark.parametrize(
    "written", ["p1/a", "p1/a.png", "p1/a.OME.TIFF", "a", "a.png", "a.nii.gz", r"p1\a.png", "./p1/a"]
)
def test_a_scan_may_be_written_as_id_path_or_file_name(table, written):
    found = table(f"scan,group\n{written},one\n")
    assert found.group("p1/a") == "one"
    assert found.group("p1/aa") is None
    assert found.unknown(["p1/a", "p1/b"]) == ()


def test_an_id_that_looks_like_a_file_name_is_an_id(table):
    # the scan is img.png.tif
    found = table("scan,group\nimg.png,one\n")
    assert found.group("img.png") == "one"
    assert found.unknown(["img.png"]) == ()


def test_a_path_is_stronger_than_a_file_name(table):
    found = table("scan,group\na.png,everywhere\np1/a.png,one\n")
    assert found.group("p1/a") == "one"
    assert found.group("p2/a") == "everywhere"
    assert found.group("a") == "everywhere"


def test_a_row_of_a_stack_means_all_its_pages_and_a_page_may_differ(table):
    found = table("scan,group,split\nvol.tif,one,train\nvol.p0007,,test\n")
    assert [found.split(f"vol.p{page:04d}") for page in (0, 7, 12345)] == ["train", "test", "train"]
    assert [found.group(f"vol.p{page:04d}") for page in (0, 7, 12345)] == ["one", "one", "one"]
    assert found.group("vol.p07") is None


def test_what_is_empty_is_left_open(table):
    found = table("scan,group,split\na,,test\nb,two,\nc\n\n , ,\n")
    assert (found.group("a"), found.split("a")) == (None, "test")
    assert (found.group("b"), found.split("b")) == ("two", None)
    assert (found.group("c"), found.split("c")) == (None, None)


@pytest.mark.parametrize(("column", "expected"), [("group", ("test", None)), ("split", (None, "test"))])
def test_one_of_the_two_columns_is_enough(table, column, expected):
    found = table(f"scan,{column}\na,test\n")
    assert (found.group("a"), found.split("a")) == expected


@pytest.mark.parametrize(
    ("written", "split"),
    [
        *(("train", "train"), ("Training", "train"), ("TRAIN", "train")),
        *(("validation", "validation"), ("val", "validation"), ("Valid", "validation")),
        *(("test", "test"), ("testing", "test"), ("HoldOut", "test")),
    ],
)
def test_the_usual_names_of_splits_are_understood(table, written, split):
    assert table(f"scan,split\na,{written}\n").split("a") == split


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_tables_that_spreadsheets_write_are_read(write, delimiter, encoding, newline):
    rows = [["Split", "sex", " SCAN ", "Group"], ["val", "f", '"a, b; c"', " Müller "]]
    path = write(newline.join(delimiter.join(row) for row in rows), encoding)
    found = read_scan_table(path)
    assert (found.group("a, b; c"), found.split("a, b; c")) == ("Müller", "validation")


@pytest.mark.parametrize("written", [("a", "a.png", "a.png"), ("a.png", "a", "a.tif")])
def test_the_same_row_again_is_one_row(table, written):
    found = table("scan,group\n" + "".join(f"{name},one\n" for name in written))
    assert found.group("a") == "one"
    assert found.unknown(["a"]) == ()


def test_what_the_table_names_and_no_scan_has_is_told_as_it_is_written(table):
    found = table("scan,group\nz.png,one\na,two\nvol,three\nb.tif,four\n")
    assert found.unknown(["a", "vol.p0000", "vol.p0001"]) == ("z.png", "b.tif")


def test_a_file_name_that_fits_several_scans_is_refused(table):
    found = table("scan,group\nb,one\na.png,two\n")
    message = r"table\.csv, line 3: 'a\.png' must mean one scan or stack, fits 2 \(p1/a, p2/a\); give each its own row"
    with pytest.raises(UsageError, match=message):
        found.unknown(["p1/a", "p2/a", "b"])


def test_the_table_can_travel_to_workers(table):
    found = table("scan,group\na,one\n")
    assert pickle.loads(pickle.dumps(found)) == found


# --------------------------------------------------------------------------- splits of groups


def test_the_splits_of_groups_come_from_their_scans(table):
    found = table("scan,split\na1,train\nb1,test\nc1,\n")
    assert found.group_splits({"a1": "a", "a2": "a", "b1": "b", "c1": "c"}) == {"a": "train", "b": "test"}


def test_a_group_keeps_its_split_when_the_scan_that_says_it_is_missing(table):
    found = table("scan,group,split\na1,a,test\na2,a,\n")
    assert found.group_splits({"a2": "a"}) == {"a": "test"}


def test_scans_of_one_group_in_two_splits_are_refused(table):
    found = table("scan,split\na1,train\na2,test\n")
    message = r"table\.csv: group 'a' must lie in one split, found a1 in train and a2 in test; correct their splits"
    with pytest.raises(UsageError, match=message):
        found.group_splits({"a1": "a", "a2": "a"})


def test_a_group_of_the_table_in_two_splits_is_refused(table):
    message = (
        r"table\.csv, line 4: group 'one' must lie in one split, found test and in line 2 train; correct one of them"
    )
    with pytest.raises(UsageError, match=message):
        table("scan,group,split\na,one,train\nb,one,\nc,one,testing\n")


# --------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1: needs a column 'scan' and a column 'group' or 'split', found an empty file; name the columns"),
        ("scan\na\n", r"line 1: needs a column 'scan' .*, found scan; name"),
        ("file,group\na,b\n", r"line 1: needs a column 'scan' .*, found file, group; name"),
        ("scan,group,Group\na,b,c\n", r"line 1: column 'group' must be there once, found scan, group, group; rename"),
        ("scan,group\n\n,one\n", r"line 3: needs a value in column 'scan', found none; add it or remove the row"),
        ("scan,group\na,b,c\n", r"line 2: needs at most 2 cells.*found 3 \(a, b, c\); quote a value"),
        (
            "scan,split\na,train\nb,tset\n",
            r"line 3: split must be one of train, training, validation, .*, holdout, found 'tset'; correct it",
        ),
        (
            "scan,group,split\na,one,test\nb,two,\na.png,one,\n",
            r"line 4: scan 'a\.png' must have the same values everywhere, found group one, split \(empty\), and in "
            r"line 2 group one, split test; remove one of the rows",
        ),
        ('scan,group\na,"one\n', r"line 2: not valid CSV \(unexpected end of data\); close or remove the quotes"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused_with_line_rule_value_and_way_out(table, text, message):
    with pytest.raises(UsageError, match=rf"table\.csv, {message}"):
        table(text)


def test_another_encoding_is_refused(write):
    path = write("scan,group\na,Müller\n", "latin-1")
    with pytest.raises(UsageError, match=r"table\.csv: must be UTF-8 \(.*0xfc.*\); save it again as CSV UTF-8"):
        read_scan_table(path)


@pytest.mark.parametrize(("name", "reason"), [("nowhere.csv", "No such file"), (".", "Is a directory")])
def test_a_table_that_is_not_there_is_refused(tmp_path, name, reason):
    with pytest.raises(UsageError, match=rf"table of scans cannot be read \({reason}.*\); check sources\.scans\.table"):
        read_scan_table(tmp_path / name)
