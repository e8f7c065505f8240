import pytest

from assistant.answering.attribution import Attributor
from tests.assistant.helpers import MOON, passage

CASH_FLOWS = """Consolidated Statement of Cash Flows
Years ended December 31
(Millions) 2018 2017 2016
Purchases of property, plant and equipment (PP&E) (1,577) (1,373) (1,420)
Proceeds from sale of PP&E and other assets 262 49 58
Dividends paid to shareholders (3,193) (2,803) (2,678)"""
PROSE = (
    "Restructuring costs were $411 million in 2022 and $247 million in 2021. The number of employees fell by 5 % to 12,400. "
    "The company did not repurchase any shares, and paid dividends twice. "
    "The statements were audited by KPMG on March 3, 2023."
)
PASSAGES = [
    passage(MOON, document="moon.pdf"),
    passage(CASH_FLOWS, document="3M_2018_10K.pdf", page=60),
    passage(PROSE, document="acme.pdf", page=9),
]


def numbers(statement, question="", cited=(), passages=PASSAGES):
    found = Attributor(question, passages).attribute(statement, cited)
    return [place.number for place in found.places]


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("The moon has no air.", 1),
        ("Its diameter is 3,474 kilometres.", 1),
        ("Purchases of property, plant and equipment were $1,577 million in 2018.", 2),
        ("Purchases of property, plant and equipment were $1.577 billion in 2018.", 2),
        ("Purchases of property, plant and equipment came to about $1.6 billion in 2018.", 2),
        ("Purchases of PP&E were 1577.", 2),
        ("Dividends paid to shareholders were $3,193 million in 2018 and $2,803 million in 2017.", 2),
        ("Restructuring costs were $0.247 billion in 2021.", 3),
        ("The number of employees fell by 5 percent.", 3),
        ("The company did not repurchase any shares.", 3),
        ("KPMG audited the statements on 3 March 2023.", 3),
    ],
)
def test_a_true_statement_is_attributed_to_its_passage(statement, number):
    assert numbers(statement) == [number]


@pytest.mark.parametrize(
    "statement",
    [
        "The moon has air.",
        "Its diameter is 3,744 kilometres.",
        "Purchases of property, plant and equipment were $1,577 million in 2017.",  # another column
        "Proceeds from sale of PP&E were 1,577 in 2018.",  # another row
        "Dividends paid to shareholders were $2,803 million in 2018 and $3,193 million in 2017.",
        "Purchases of property, plant and equipment were $1,577 thousand.",
        "Restructuring costs were $247 million in 2022.",
        "Restructuring costs were $411 thousand in 2022.",
        "Restructuring costs were €411 million in 2022.",
        "The number of employees increased by 5 %.",
        "The company repurchased shares.",
        "The company did not pay dividends twice.",
        "The statements were audited by Deloitte.",
        "Deloitte audited the statements on March 3, 2023.",
        "The moon has no water and no mountains.",
        "If the company repurchased shares, it paid no dividends.",
        "The statements were audited by KPMG on 4 March 2023.",
        "Elephants like bananas.",
    ],
)
@pytest.mark.parametrize("cited", [(), (1, 2, 3)])
def test_a_false_statement_is_attributed_to_none_whatever_it_cites(statement, cited):
    assert numbers(statement, cited=cited) == []


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("Die Restrukturierungskosten betrugen im Jahr 2022 411 Mio. Dollar.", 3),
        ("Die Zahl der Mitarbeiter sank um 5 Prozent auf 12.400.", 3),
        ("Les dividendes versés aux actionnaires étaient de 3 193 millions de dollars en 2018.", 2),
        ("Los costes de reestructuración fueron de 411 millones de dólares en 2022.", 3),
        ("Расходы на реструктуризацию составили 411 млн долларов в 2022 году.", 3),
        ("بلغت تكاليف إعادة الهيكلة ٤١١ مليون دولار في عام 2022.", 3),
        ("2022年的重组成本为4.11亿美元。", 3),
        ("2018年の配当金は3,193百万ドルでした。", 2),
    ],
)
def test_an_answer_in_another_language_is_attributed_by_its_figures_and_years(statement, number):
    assert numbers(statement) == [number]
    assert numbers(statement.replace("2022", "2021").replace("2018", "2017").replace("5 P", "7 P")) == []


def test_a_table_without_prose_does_not_count_as_another_language_for_an_english_answer():
    table = [passage("2018 2017\nRevenue 1,577 1,373\nCosts 262 249")]
    assert numbers("The salaries of the directors were 1,577 in 2018.", passages=table) == []
    assert numbers("The revenue was 1,577 in 2018.", passages=table) == [1]


def test_words_of_another_language_tell_nothing_and_keep_what_the_model_cited():
    moon = PASSAGES[:1]
    found = Attributor("Hat der Mond eine Atmosphäre?", moon).attribute("Der Mond hat keine Luft.", [1])
    assert ([place.number for place in found.places], found.unsupported) == ([1], False)
    assert not Attributor("", moon).attribute("Der Mond hat keine Luft.", []).unsupported


@pytest.mark.parametrize(
    ("text", "true", "false"),
    [
        ("Die Garantie gilt 24 Monate. Der Versand ist nicht im Preis enthalten.", "Der Versand ist im Preis nicht enthalten.",
         "Der Versand ist im Preis enthalten."),
        ("La garantie dure 24 mois. Les frais de port ne sont pas compris dans le prix.", "La garantie dure 24 mois.",
         "Les frais de port sont compris dans le prix."),
        ("La garantía dura 24 meses. El envío no está incluido en el precio.", "El envío no está incluido en el precio.",
         "El envío está incluido en el precio."),
        ("Гарантия действует 24 месяца. Доставка не включена в цену.", "Доставка не включена в цену.", "Доставка включена в цену."),
        ("مدة الضمان 24 شهرا. لا يشمل السعر تكاليف الشحن.", "لا يشمل السعر تكاليف الشحن.", "يشمل السعر تكاليف الشحن."),
        ("保修期为24个月。价格不包括运费。", "价格不包括运费。", "价格包括运费。"),
        ("保証期間は24か月です。送料は価格に含まれていません。", "送料は価格に含まれていません。", "送料は価格に含まれています。"),
    ],
)  # fmt: skip
def test_statements_and_their_denials_are_told_apart_in_other_languages(text, true, false):
    page = [passage(MOON), passage(text)]
    assert numbers(true, passages=page) == [2]
    assert numbers(false, passages=page) == []


@pytest.mark.parametrize(
    ("question", "answer", "number"),
    [
        ("What were purchases of PP&E in 2017?", "$1,373 million", [2]),
        ("What were purchases of PP&E in 2017?", "Purchases of PP&E were $1,577 million.", []),
        (
            "What was the capital expenditure of 3M in 2018?",
            "The capital expenditure of 3M in 2018 was $1,577 million.",
            [2],
        ),
    ],
)
def test_the_question_tells_what_and_when_a_bare_amount_means(question, answer, number):
    assert numbers(answer, question) == number


@pytest.mark.parametrize(
    "answer", ["Its builder was Robert Stevenson.", "Robert Stevenson.", "Robert Stevenson built it."]
)
def test_a_full_name_is_enough_to_find_its_place(answer):
    page = [passage(MOON), passage("The lighthouse of Bell Rock was built by Robert Stevenson. It is 35 metres high.")]
    assert numbers(answer, "Who was its builder?", passages=page) == [2]
    assert numbers(answer.replace("Robert", "Alan"), "Who was its builder?", passages=page) == []


@pytest.mark.parametrize("answer", ["Air", "Dividends"])
def test_a_word_that_could_stand_anywhere_is_attributed_only_where_the_question_is_answered(answer):
    assert numbers(answer, "Which bananas do elephants like?") == []


def test_parts_of_a_statement_may_rest_on_different_passages():
    statement = (
        "Restructuring costs were $411 million in 2022 and dividends paid to shareholders were $3,193 million in 2018."
    )
    assert sorted(numbers(statement)) == [2, 3]


def test_a_passage_that_supports_what_cites_it_is_kept_though_another_says_the_same():
    twice = [passage(MOON), passage(MOON, page=2)]
    assert numbers("The moon has no air.", cited=[2], passages=twice) == [2]
    assert numbers("The moon has no air.", passages=twice) == [1]


def test_the_place_is_the_sentence_or_row_that_says_it():
    found = Attributor("", PASSAGES).attribute("Dividends paid to shareholders were 3,193 in 2018.", [])
    (place,) = found.places
    assert CASH_FLOWS[place.start : place.end] == "Dividends paid to shareholders (3,193) (2,803) (2,678)"


def test_passages_that_a_tool_adds_can_be_cited():
    known = PASSAGES[:1]
    attributor = Attributor("", known)
    assert not attributor.attribute("The statements were audited by KPMG.", []).places
    known.append(PASSAGES[2])
    assert [place.number for place in attributor.attribute("The statements were audited by KPMG.", []).places] == [2]


@pytest.mark.parametrize(
    ("question", "statement"),
    [
        ("Can I immerse the kettle in water?", "You can immerse the kettle in water."),
        ("Is limescale covered?", "Yes, the warranty covers limescale."),
    ],
)
@pytest.mark.parametrize("cited", [(), (1,)])
def test_a_sentence_that_denies_a_statement_outweighs_those_that_share_fewer_of_its_words(question, statement, cited):
    manual = passage(
        "Do not immerse the kettle in water. Fill the kettle to the mark, boil the water and pour it away. "
        "The warranty of the kettle lasts 24 months. It does not cover limescale."
    )
    assert Attributor(question, [manual]).attribute(statement, cited).unsupported
