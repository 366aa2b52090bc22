"""PDF documents: what a reader finds in them, page by page."""

from io import BytesIO
from pathlib import Path

from pypdf import PdfReader

from costtrack.pdf.document import PDFColumn, PDFDocument, Row
from costtrack.pdf.fonts import Fonts
from costtrack.pdf.truetype import TrueTypeFont

COLUMNS = (PDFColumn("Team"), PDFColumn("Model"), PDFColumn("Amount", is_number=True))
AMOUNT = "$999,999,999,999.999999999999999999999999"
FONT = Path("costtrack/pdf/fonts/inter-regular.ttf")


def document(rows: list[Row], total: Row | None = None, columns: tuple[PDFColumn, ...] = COLUMNS) -> bytes:
    pdf = PDFDocument("Statement October 2026", "Acme")
    pdf.title("Statement of October 2026")
    pdf.facts([("Organization", "Acme"), ("Filters", "word " * 60)])
    pdf.heading("Lines")
    pdf.table(columns, rows, total)
    return pdf.content()


def pages(content: bytes) -> list[str]:
    return [page.extract_text() for page in PdfReader(BytesIO(content)).pages]


def test_each_page_has_the_head_of_the_table_and_its_number() -> None:
    rows: list[Row] = [[f"team {number}", "gpt-4o", f"${number}.50"] for number in range(100)]
    texts = pages(document(rows, ["Total", "", "$5,000.00"]))
    assert len(texts) == 4
    for number, text in enumerate(texts, 1):
        assert "Team Model Amount" in text
        assert f"Page {number} of 4" in text
    lines = "\n".join(texts).splitlines()
    assert [line for line in lines if line.startswith("team ")] == [" ".join(row) for row in rows]  # type: ignore[arg-type] # texts
    assert "Total $5,000.00" in lines


def test_the_same_calls_produce_the_same_bytes_without_a_time() -> None:
    rows: list[Row] = [["search", "gpt-4o", AMOUNT]]
    content = document(rows)
    assert content == document(rows)
    assert PdfReader(BytesIO(content)).metadata == {"/Title": "Statement October 2026", "/Producer": "costtrack"}


def test_names_in_any_script_are_read_back_and_others_are_boxes() -> None:
    names = ["Команда поиска", "Ομάδα", "Zespół Łódź", "検索チーム", "검색 팀", "搜索团队"]
    text = "\n".join(pages(document([[name, "", "$1.00"] for name in (*names, "😀 ทีม", "a\u200bb\x00c")])))
    assert [name for name in names if name not in text] == []
    assert "□ □□" in text
    assert "ab c" in text


def test_long_names_are_shortened_in_the_middle_and_amounts_never() -> None:
    [text] = pages(document([["t" * 255, "model-" * 40 + "v1:0", AMOUNT], [("Key", "id_1"), "", (AMOUNT, "and 1")]]))
    assert text.count(AMOUNT) == 2
    assert "…-v1:0" not in text
    assert "…del-v1:0" in text
    assert "Key" in text
    assert "id_1" in text
    many = tuple(PDFColumn(f"Count {number}", is_number=True) for number in range(9))
    assert pages(document([["x", "y", *[AMOUNT] * 9]], columns=(*COLUMNS[:2], *many)))[0].count(AMOUNT) == 9


def test_texts_stay_within_their_columns() -> None:
    fonts = Fonts()
    assert {fonts.width(digit, 1000) for digit in "0123456789"} == {fonts.width("7", 1000)}
    assert fonts.width("検索", 10) == 20
    assert fonts.width("search", 10, is_bold=True) > fonts.width("search", 10) > 0


def test_a_subset_of_a_font_has_the_outlines_of_its_glyphs_and_their_components() -> None:
    font = TrueTypeFont.read(FONT)
    full = font.subset(font.glyphs.values())
    subset = font.subset([font.glyphs["é"]])
    assert len(subset) < len(full) // 4
    assert font.subset([font.glyphs["é"]]) == subset
    assert len(subset) > len(font.subset([]))
