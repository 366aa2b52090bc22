"""PDF documents: what a reader finds in them, page by page."""

import re
from io import BytesIO
from typing import cast

from pypdf import PageObject, PdfReader
from pypdf.generic import DictionaryObject

from costtrack.pdf.document import PDFColumn, PDFDocument, Row
from costtrack.pdf.fonts import BOLD, REGULAR, register_fonts, width

COLUMNS = (PDFColumn("Team"), PDFColumn("Model"), PDFColumn("Amount", is_number=True))
AMOUNT = "$999,999,999,999.999999999999999999999999"


def document(rows: list[Row], total: Row | None = None, columns: tuple[PDFColumn, ...] = COLUMNS) -> bytes:
    pdf = PDFDocument("Statement October 2026", "Acme")
    pdf.title("Statement of October 2026")
    pdf.facts([("Organization", "Acme"), ("Filters", "word " * 60)])
    pdf.heading("Lines")
    pdf.table(columns, rows, total)
    return pdf.content()


def pages(content: bytes) -> list[str]:
    return [" ".join(page.extract_text().split()) for page in PdfReader(BytesIO(content)).pages]


def test_each_page_has_the_head_of_the_table_and_its_number() -> None:
    rows: list[Row] = [[f"team {number}", "gpt-4o", f"${number}.50"] for number in range(100)]
    texts = pages(document(rows, ["Total", "", "$5,000.00"]))
    assert len(texts) == 4
    for number, text in enumerate(texts, 1):
        assert "Team Model Amount" in text
        assert f"Page {number} of 4" in text
    assert re.findall(r"team \d+ gpt-4o \S+", " ".join(texts)) == [" ".join(map(str, row)) for row in rows]
    assert "Total $5,000.00" in texts[-1]


def test_the_same_calls_produce_the_same_bytes_without_a_time() -> None:
    rows: list[Row] = [["search", "gpt-4o", AMOUNT]]
    content = document(rows)
    assert content == document(rows)
    metadata = PdfReader(BytesIO(content)).metadata
    assert metadata is not None
    assert (metadata.title, metadata.author, metadata.producer) == ("Statement October 2026", "Acme", "costtrack")


def test_names_in_any_script_are_read_back_and_others_are_boxes() -> None:
    names, wide = ["Команда поиска", "Ομάδα", "Zespół Łódź"], ["検索チーム", "검색 팀", "搜索团队"]
    content = document([[name, "", "$1.00"] for name in (*names, *wide, "😀 ทีม", "a\u200bb\x00c")])
    text = " ".join(pages(content))
    assert [name for name in names if name not in text] == []
    assert "□ □□" in text
    assert "ab c" in text
    fonts = {str(font["/BaseFont"]).partition("-Uni")[0] for font in fonts_of(PdfReader(BytesIO(content)).pages[0])}
    assert fonts >= {"/HeiseiKakuGo-W5", "/HYGothic-Medium", "/STSong-Light"}


def test_long_names_are_shortened_in_the_middle_and_amounts_never() -> None:
    [text] = pages(document([["t" * 255, "model-" * 40 + "v1:0", AMOUNT], [("Key", "id_1"), "", (AMOUNT, "and 1")]]))
    assert text.count(AMOUNT) == 2
    assert "…-v1:0" not in text
    assert "…del-v1:0" in text
    assert "Key" in text
    assert "id_1" in text
    many = tuple(PDFColumn(f"Count {number}", is_number=True) for number in range(9))
    assert pages(document([["x", "y", *[AMOUNT] * 9]], columns=(*COLUMNS[:2], *many)))[0].count(AMOUNT) == 9


def test_digits_have_one_width_and_wide_characters_the_size_of_the_font() -> None:
    register_fonts()
    assert {width(digit, REGULAR, 1000) for digit in "0123456789"} == {width("7", REGULAR, 1000)}
    assert width("検索", REGULAR, 10) == 20
    assert width("search", BOLD, 10) > width("search", REGULAR, 10) > 0


def test_a_file_has_only_the_glyphs_that_it_uses() -> None:
    content = document([["search", "gpt-4o", AMOUNT]])
    assert len(content) < 40_000
    fonts = {font["/BaseFont"] for font in fonts_of(PdfReader(BytesIO(content)).pages[0])}
    assert {str(name).partition("+")[2] for name in fonts} >= {"Inter-Regular", "Inter-SemiBold"}


def fonts_of(page: PageObject) -> list[DictionaryObject]:
    resources = cast("DictionaryObject", page["/Resources"])
    return [font.get_object() for font in cast("DictionaryObject", resources["/Font"]).values()]
